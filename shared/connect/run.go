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

// Configuration is the interface of a service's configuration. Complete sets the values
// that depend on the machine and returns an error that lists every mistake.
// CheckListening returns those that only concern a process that listens.
type Configuration[C any] interface {
	Complete() (C, error)
	CheckListening() error
	Logger(io.Writer) (*slog.Logger, error)
}

// Runner is a service that is ready to run.
type Runner interface {
	Run(ctx context.Context) error
}

// Whole is the whole configuration of a deployed service: where traces are sent, the
// servers, and the service's own part.
type Whole[C any] struct {
	Traces  telemetry.Config
	Servers Config
	Service C
}

// Load reads the configuration of a deployed service. Its error lists every mistake.
func Load[C Configuration[C]](environ []string) (Whole[C], error) {
	return service.Load(environ, func(c *Whole[C]) error {
		var completeErr error
		c.Service, completeErr = c.Service.Complete()
		_, logErr := c.Service.Logger(io.Discard)
		return errors.Join(completeErr, c.Service.CheckListening(), logErr, c.Traces.Validate(), c.Servers.Validate())
	})
}

// Effective is Load with the signature of [service.Program]'s Config.
func Effective[C Configuration[C]](environ []string) (any, error) { return Load[C](environ) }

// Process specifies what a service does with its servers.
type Process struct {
	Name     string // identifies the service in traces, in RabbitMQ and in the keys of its probes
	Declares bool   // declares the queues: the gateway does, and the other services wait for them

	PutsOriginals, PutsProcessed bool   // for the probes of the stores
	ProcessedBelow               string // prefix of all keys of processed objects that it puts; empty: none
	Deletes                      bool   // deletes what it puts
}

// Run runs a deployed service: it reads the configuration, opens the servers, calls
// start, runs the returned service until ctx is done, and then closes the servers.
func Run[C Configuration[C]](ctx context.Context, p Process, environ []string,
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
	traces, err := telemetry.Open(ctx, c.Traces, telemetry.Process{Name: p.Name, Version: buildinfo.Version, Roots: roots, Log: log, Metrics: m})
	if err != nil {
		return err
	}
	// Deferred first and so called last, when every span has been recorded.
	defer func() { err = errors.Join(err, traces.Close()) }()     //nolint:contextcheck // Spans are exported after ctx has ended.
	servers, err := c.Servers.open(p, traces, traces.Log(log), m) //nolint:contextcheck // The servers outlive ctx: draining needs them.
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
