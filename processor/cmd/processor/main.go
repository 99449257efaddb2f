// Command processor runs the processor as a separate service, with RabbitMQ and an S3 server. It is configured
// by the environment; see docs/configuration.md.
package main

import (
	"context"
	"os"

	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

func main() {
	os.Exit(service.Program{
		Name: "processor", DefaultAddr: processor.DefaultAddr, Run: run, Config: connect.Effective[processor.Config],
	}.Main(os.Args[1:]))
}

func run(ctx context.Context, environ []string) error {
	p := connect.Process{Name: "processor", PutsProcessed: true}
	return connect.Run(ctx, p, environ, func(ctx context.Context, c processor.Config, s *connect.Servers) (connect.Runner, error) {
		return processor.New(ctx, c, processor.Deps{
			Broker: s.Broker, Originals: s.Originals, Processed: s.Processed, Log: s.Log, Metrics: s.Metrics, Traces: s.Traces,
		})
	})
}
