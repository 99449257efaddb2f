package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Configuration is what a service's configuration can do. Complete fills in what
// depends on the machine and returns everything that is wrong.
type Configuration[C any] interface {
	Complete() (C, error)
	Logger(io.Writer) (*slog.Logger, error)
}

// Runner is a service that was made and is to be run.
type Runner interface {
	Run(ctx context.Context) error
}

// Whole is the configuration of a deployed service: where traces go, the servers, and
// its own.
type Whole[C any] struct {
	Traces  telemetry.Config
	Servers Config
	Service C
}

// Load reads the configuration of a deployed service and returns it, or everything
// that is wrong with it.
func Load[C Configuration[C]](environ []string) (Whole[C], error) {
	return service.Load(environ, func(c *Whole[C]) error {
		var completeErr error
		c.Service, completeErr = c.Service.Complete()
		_, logErr := c.Service.Logger(io.Discard)
		return errors.Join(completeErr, logErr, c.Traces.Validate(), c.Servers.Validate())
	})
}

// Effective is Load for [service.Program].
func Effective[C Configuration[C]](environ []string) (any, error) { return Load[C](environ) }

// Run is a deployed service from its environment to its end: it reads the
// configuration, opens the servers, makes the service, runs it until ctx ends,
// and closes the servers after it. name is the service's in traces; declare says
// whether this service declares the queues: the gateway does, and the others wait
// for it.
func Run[C Configuration[C]](ctx context.Context, name string, environ []string, declare bool,
	start func(context.Context, C, *Servers) (Runner, error),
) (err error) {
	c, err := Load[C](environ)
	if err != nil {
		return err
	}
	log, err := c.Service.Logger(os.Stderr)
	if err != nil {
		return err
	}
	roots, err := c.Servers.Roots()
	if err != nil {
		return err
	}
	m := telemetry.NewRegistry()
	traces, err := telemetry.Open(ctx, c.Traces, telemetry.Process{Name: name, Version: buildinfo.Version, Roots: roots, Log: log, Metrics: m})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.Close()) }()           // last of all, when everything has been recorded
	servers, err := c.Servers.open(declare, traces, traces.Log(log), m) //nolint:contextcheck // The servers outlive ctx: a drain needs them.
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := servers.close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close broker: %w", closeErr))
		}
	}()
	s, err := start(ctx, c.Service, servers)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
