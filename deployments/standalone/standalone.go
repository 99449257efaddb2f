package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// config is the configuration of the three services. Only the gateway listens on an
// address.
type config struct {
	Traces telemetry.Config
	service.TrustConfig
	Gateway   gateway.Config
	Analyzer  analyzer.Config
	Processor processor.Config
}

// standalone contains the three services and their shared parts.
type standalone struct {
	log       *slog.Logger
	scheme    string // scheme of the gateway's URL
	basePath  string // path of the gateway's URL
	metrics   *telemetry.Registry
	parts     service.Closer
	gateway   *gateway.Service
	analyzer  *analyzer.Service
	processor *processor.Service
}

// load reads the configuration. The default log format is text, because people read the
// log directly.
func load(environ []string) (config, error) {
	return service.Load(service.Default(environ, "LOG_FORMAT", "text"), func(c *config) error {
		var errs [8]error
		c.Analyzer.HTTPAddr, c.Analyzer.MetricsAddr = "", ""
		c.Processor.HTTPAddr, c.Processor.MetricsAddr = "", ""
		c.Gateway, errs[0] = c.Gateway.Complete()
		c.Analyzer, errs[1] = c.Analyzer.Complete()
		c.Processor, errs[2] = c.Processor.Complete()
		_, errs[3] = c.Gateway.Logger(io.Discard)
		_, errs[4] = c.Roots()
		errs[5] = c.Traces.Validate()
		errs[6] = c.Gateway.CheckListening()
		if err := service.CheckFolder(c.Gateway.DataDir); err != nil {
			errs[7] = fmt.Errorf("DATA_DIR: %w", err)
		}
		return errors.Join(errs[:]...)
	})
}

// newStandalone returns a standalone that is ready to run.
func newStandalone(ctx context.Context, environ []string, logTo io.Writer) (_ *standalone, err error) {
	s := new(standalone)
	c, err := load(environ)
	if err != nil {
		return nil, err
	}
	if s.log, err = c.Gateway.Logger(logTo); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.parts.Close(ctx, s.log))
		}
	}()

	s.scheme, s.basePath = "http", c.Gateway.BasePath
	if c.Gateway.TLSCertFile != "" {
		s.scheme = "https"
	}
	s.metrics = telemetry.NewRegistry()
	traces, err := s.openTraces(ctx, c)
	if err != nil {
		return nil, err
	}
	s.log = traces.Log(s.log)
	originals, err := s.openStore(filepath.Join(c.Gateway.DataDir, "original"))
	if err != nil {
		return nil, err
	}
	processed, err := s.openStore(filepath.Join(c.Gateway.DataDir, "processed"))
	if err != nil {
		return nil, err
	}
	broker, err := membroker.Open(filepath.Join(c.Gateway.DataDir, "in-hand"), pipeline.WorkQueues()...)
	if err != nil {
		return nil, err
	}
	s.parts.Add("broker", broker.Close)
	queues := telemetry.Broker(broker, s.metrics, traces)
	originalStore := telemetry.Store(originals, "originals", s.metrics, traces)
	processedStore := telemetry.Store(processed, "processed", s.metrics, traces)

	s.gateway, err = gateway.New(ctx, c.Gateway, gateway.Deps{
		Broker: queues, Browser: broker, Originals: originalStore, Processed: processedStore, Log: s.log, Metrics: s.metrics, Traces: traces,
		Faults: func() []string { return s.analyzer.Faults() },
	})
	if err != nil {
		return nil, err
	}
	// The gateway has locked the job store, so no other process uses the folders next to it.
	for _, store := range []*dirstore.Store{originals, processed} {
		if err := store.Tidy(); err != nil {
			return nil, err
		}
	}
	s.analyzer, err = analyzer.New(ctx, c.Analyzer, analyzer.Deps{
		Broker: queues, Originals: originalStore, Processed: processedStore, Log: s.log, Metrics: s.metrics, Traces: traces,
	})
	if err != nil {
		return nil, err
	}
	s.processor, err = processor.New(ctx, c.Processor, processor.Deps{
		Broker: queues, Originals: originalStore, Processed: processedStore, Log: s.log, Metrics: s.metrics, Traces: traces,
	})
	return s, err
}

// openTraces starts the export of traces if a collector is configured. The exporter is
// closed last, when all spans have been recorded.
func (s *standalone) openTraces(ctx context.Context, c config) (*telemetry.Tracer, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	traces, err := telemetry.Open(ctx, c.Traces, telemetry.Process{
		Name: "standalone", Version: buildinfo.Version, Roots: roots, Log: s.log, Metrics: s.metrics,
	})
	if err == nil {
		s.parts.Add("traces", traces.Close)
	}
	return traces, err
}

func (s *standalone) openStore(dir string) (*dirstore.Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("DATA_DIR: create image folder: %w", err)
	}
	store, err := dirstore.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	return store, nil
}

// Addr returns the gateway's address.
func (s *standalone) Addr() net.Addr { return s.gateway.Addr() }

// Run runs the services until ctx is done, finishes the images in flight, and closes
// everything.
func (s *standalone) Run(ctx context.Context) error {
	s.log.InfoContext(ctx, "imagebatch listening", "url", s.scheme+"://"+dialable(s.Addr())+s.basePath)
	stop := context.AfterFunc(ctx, func() {
		s.log.InfoContext(ctx, "imagebatch stopping: finishing images in flight; a second signal stops it immediately")
	})
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gateway.Run(gctx) })
	g.Go(func() error { return s.analyzer.Run(gctx) })
	g.Go(func() error { return s.processor.Run(gctx) })
	return errors.Join(g.Wait(), s.parts.Close(context.WithoutCancel(ctx), s.log))
}

// dialable formats an address for use in a URL.
func dialable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return a.String()
}
