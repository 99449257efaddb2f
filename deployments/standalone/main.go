// Command standalone runs all of Imagebatch in one process: the gateway, one
// analyzer and one processor on an in-process broker, with a local folder for
// the images and SQLite for the jobs, all under DATA_DIR. It needs nothing else
// and survives being killed: what was accepted goes on at the next start.
package main

import (
	"context"
	"os"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/shared/service"
)

func main() {
	os.Exit(service.Program{Name: "standalone", DefaultAddr: gateway.DefaultAddr, Run: run}.Main(os.Args[1:]))
}

func run(ctx context.Context, environ []string) error {
	s, err := newStandalone(ctx, environ, os.Stderr)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
