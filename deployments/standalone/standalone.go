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

// config is the configuration of the three services, of which only the gateway
// answers on an address.
type config struct {
	Traces telemetry.Config
	service.TrustConfig
	Gateway   gateway.Config
	Analyzer  analyzer.Config
	Processor processor.Config
}

// standalone is the three services and what they share.
type standalone struct {
	log       *slog.Logger
	scheme    string // of the gateway's address
	metrics   *telemetry.Registry
	parts     service.Closer
	gateway   *gateway.Service
	analyzer  *analyzer.Service
	processor *processor.Service
}

// load reads the configuration. The log, which people read here, is text unless the
// environment says otherwise.
func load(environ []string) (config, error) {
	return service.Load(service.Default(environ, "LOG_FORMAT", "text"), func(c *config) error {
		var errs [6]error
		c.Analyzer.HTTPAddr, c.Analyzer.MetricsAddr = "", ""
		c.Processor.HTTPAddr, c.Processor.MetricsAddr = "", ""
		c.Gateway, errs[0] = c.Gateway.Complete()
		c.Analyzer, errs[1] = c.Analyzer.Complete()
		c.Processor, errs[2] = c.Processor.Complete()
		_, errs[3] = c.Gateway.Logger(io.Discard)
		_, errs[4] = c.Roots()
		errs[5] = c.Traces.Validate()
		return errors.Join(errs[:]...)
	})
}

// newStandalone makes everything, ready to run.
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

	s.scheme = "http"
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
	broker, err := membroker.Open(filepath.Join(c.Gateway.DataDir, "in-hand"),
		pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name)
	if err != nil {
		return nil, err
	}
	s.parts.Add("broker", broker.Close)
	queues := telemetry.Broker(broker, s.metrics, traces)
	originalStore := telemetry.Store(originals, "originals", s.metrics, traces)
	processedStore := telemetry.Store(processed, "processed", s.metrics, traces)

	s.gateway, err = gateway.New(ctx, c.Gateway, gateway.Deps{
		Broker: queues, Originals: originalStore, Processed: processedStore, Log: s.log, Metrics: s.metrics, Traces: traces,
	})
	if err != nil {
		return nil, err
	}
	// The gateway has the job store for itself, so the folders beside it are ours.
	for _, store := range []*dirstore.Store{originals, processed} {
		if err := store.Tidy(); err != nil {
			return nil, err
		}
	}
	s.analyzer, err = analyzer.New(ctx, c.Analyzer, analyzer.Deps{
		Broker: queues, Originals: originalStore, Log: s.log, Metrics: s.metrics, Traces: traces,
	})
	if err != nil {
		return nil, err
	}
	s.processor, err = processor.New(ctx, c.Processor, processor.Deps{
		Broker: queues, Originals: originalStore, Processed: processedStore, Log: s.log, Metrics: s.metrics, Traces: traces,
	})
	return s, err
}

// openTraces opens the way to a collector, if there is one. It is closed last, when
// everything has been recorded.
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
		return nil, fmt.Errorf("DATA_DIR: make image folder: %w", err)
	}
	store, err := dirstore.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	return store, nil
}

// Addr is where the gateway answers.
func (s *standalone) Addr() net.Addr { return s.gateway.Addr() }

// Run works until ctx ends, finishes what is in hand, and closes everything.
func (s *standalone) Run(ctx context.Context) error {
	s.log.InfoContext(ctx, "imagebatch answers", "url", s.scheme+"://"+dialable(s.Addr()))
	stop := context.AfterFunc(ctx, func() {
		s.log.InfoContext(ctx, "imagebatch stops when what it has in hand is done, or at once at a second signal")
	})
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gateway.Run(gctx) })
	g.Go(func() error { return s.analyzer.Run(gctx) })
	g.Go(func() error { return s.processor.Run(gctx) })
	return errors.Join(g.Wait(), s.parts.Close(context.WithoutCancel(ctx), s.log))
}

// dialable writes an address as a person would type it.
func dialable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return a.String()
}
