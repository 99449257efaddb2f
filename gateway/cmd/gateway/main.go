// Command gateway runs the gateway as a separate service, with RabbitMQ and an S3
// server. Its configuration is the environment; see docs/configuration.md.
package main

import (
	"context"
	"os"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/apikeys"
	"github.com/imagebatch/imagebatch/gateway/backup"
	"github.com/imagebatch/imagebatch/gateway/deadletters"
	"github.com/imagebatch/imagebatch/gateway/owner"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

func main() {
	os.Exit(service.Program{
		Name: "gateway", DefaultAddr: gateway.DefaultAddr, Run: run, Config: connect.Effective[gateway.Config], SpeaksTLS: true,
		Commands: []service.Command{{
			Name: deadletters.Name, Summary: "list, show or replay messages that could not be processed; see docs/delivery.md",
			Run: func(ctx context.Context, args, environ []string) int {
				return deadletters.Main(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}, {
			Name: apikeys.Name, Summary: apikeys.Summary,
			Run: func(_ context.Context, args, _ []string) int { return apikeys.Main(args, os.Stdout, os.Stderr) },
		}, {
			Name: backup.Name, Summary: backup.Summary,
			Run: func(ctx context.Context, args, environ []string) int {
				return backup.Main(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}, {
			Name: backup.RestoreName, Summary: backup.RestoreSummary,
			Run: func(ctx context.Context, args, environ []string) int {
				return backup.Restore(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}, {
			Name: owner.TakeOverName, Summary: owner.TakeOverSummary,
			Run: func(ctx context.Context, args, environ []string) int {
				return owner.TakeOver(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}, {
			Name: owner.NewIDName, Summary: owner.NewIDSummary,
			Run: func(ctx context.Context, args, environ []string) int {
				return owner.NewID(ctx, args, environ, os.Stdout, os.Stderr)
			},
		}},
	}.Main(os.Args[1:]))
}

func run(ctx context.Context, environ []string) error {
	p := connect.Process{Name: "gateway", Declares: true, PutsOriginals: true, Deletes: true}
	return connect.Run(ctx, p, environ, func(ctx context.Context, c gateway.Config, s *connect.Servers) (connect.Runner, error) {
		return gateway.New(ctx, c, gateway.Deps{
			Broker: s.Broker, Browser: s.Browser, Originals: s.Originals, Processed: s.Processed, Log: s.Log, Metrics: s.Metrics, Traces: s.Traces,
		})
	})
}
