// Command analyzer runs the analyzer as a separate service, with RabbitMQ and an S3 server. It is configured by
// the environment; see docs/configuration.md.
package main

import (
	"context"
	"os"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
)

func main() {
	os.Exit(service.Program{
		Name: "analyzer", DefaultAddr: analyzer.DefaultAddr, Run: run, Config: connect.Effective[analyzer.Config],
		Commands: []service.Command{{
			Name: analyzer.CaptionName, Summary: analyzer.CaptionSummary,
			Run: func(ctx context.Context, args, environ []string) int {
				return analyzer.CaptionFiles(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}},
	}.Main(os.Args[1:]))
}

func run(ctx context.Context, environ []string) error {
	// The store of processed images is probed only if it is in use: for the step of captions.
	p := connect.Process{Name: "analyzer", PutsProcessed: true, ProcessedBelow: pipeline.CaptionsPrefix}
	return connect.Run(ctx, p, environ, func(ctx context.Context, c analyzer.Config, s *connect.Servers) (connect.Runner, error) {
		return analyzer.New(ctx, c, analyzer.Deps{
			Broker: s.Broker, Originals: s.Originals, Processed: s.Processed, Log: s.Log, Metrics: s.Metrics, Traces: s.Traces,
		})
	})
}
