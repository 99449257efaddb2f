// Command standalone runs all of Imagebatch in one process: the gateway, one
// analyzer and one processor on an in-process broker, with a local folder for
// the images and SQLite for the jobs, all under DATA_DIR. It needs no other service.
// If it is killed, the next start continues all accepted jobs.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/apikeys"
	"github.com/imagebatch/imagebatch/gateway/backup"
	"github.com/imagebatch/imagebatch/shared/service"
)

func main() {
	os.Exit(service.Program{
		Name: "standalone", DefaultAddr: gateway.DefaultAddr, Run: run, Config: effective, SpeaksTLS: true,
		Commands: []service.Command{{
			Name: "dead-letters", Summary: "explain how to retry failed images; the queues of this process are in memory", Run: noDeadLetters,
		}, {
			Name: apikeys.Name, Summary: apikeys.Summary,
			Run: func(_ context.Context, args, _ []string) int { return apikeys.Main(args, os.Stdout, os.Stderr) },
		}, {
			Name: analyzer.CaptionName, Summary: analyzer.CaptionSummary,
			Run: func(ctx context.Context, args, environ []string) int {
				return analyzer.CaptionFiles(ctx, args, environ, os.Stdout, os.Stderr)
			},
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
		}},
	}.Main(os.Args[1:]))
}

// noDeadLetters prints an alternative. Another process cannot read the queues of this
// one, and a restart sends all open images again, so a dead letter here offers nothing
// that the job's own retry does not.
func noDeadLetters(context.Context, []string, []string) int {
	fmt.Fprintln(os.Stderr, `standalone: the queues are in memory, where no other process can read them. The image of a dead letter has ended as failed,
with the error code processing_failed. Retry the failed images of its job:

  curl -X POST http://localhost:8080/api/v1/batch/{job_id}/retry`)
	return 2
}

func effective(environ []string) (any, error) { return load(environ) }

func run(ctx context.Context, environ []string) error {
	s, err := newStandalone(ctx, environ, os.Stderr)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
