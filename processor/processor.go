// Package processor is the service that writes the metadata into each image and stores the results. It keeps no
// state, so any number of processors can be started and stopped at any time.
package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/processor/internal/outputs"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Deps are the processor's dependencies.
type Deps struct {
	Broker               broker.Broker
	Originals, Processed objectstore.Store
	Log                  *slog.Logger
	Metrics              *telemetry.Registry
	Traces               *telemetry.Tracer // may be nil
}

// Service is one processor.
type Service struct {
	config Config
	deps   Deps
	ops    *service.Server
}

// New returns a processor and opens its admin address, if one is configured.
func New(ctx context.Context, c Config, d Deps) (*Service, error) {
	s := &Service{config: c, deps: d}
	if c.EmbedDescriptive == fill {
		d.Log.WarnContext(ctx, "EMBED_DESCRIPTIVE has an old value; set all instead of fill")
	}
	var err error
	s.ops, err = service.Listen(ctx, c.OpsAddr(), d.Metrics.Handler(),
		service.Check{Name: "broker", Ready: func(context.Context) error { return d.Broker.Ready() }},
		service.Check{Name: "store of originals", Ready: d.Originals.Ready},
		service.Check{Name: "store of processed images", Ready: d.Processed.Ready},
	)
	return s, err
}

// Addr returns the admin address, or nil.
func (s *Service) Addr() net.Addr { return s.ops.Addr() }

// Run works until ctx ends and then finishes the images in flight.
func (s *Service) Run(ctx context.Context) error {
	return service.RunParts(ctx, s.deps.Log, s.ops, service.Part{Name: "process", Run: func(ctx context.Context) error {
		return stage.Run(ctx, stage.Deps{
			Broker: s.deps.Broker, Log: s.deps.Log, Metrics: s.deps.Metrics,
			Ready: s.ready, Concurrency: s.config.Concurrency, Now: failpoint.Now,
			Traces: s.deps.Traces, Work: "processing",
		}, pipeline.MetadataGenerated, pipeline.ImageProcessed, s.process)
	}})
}

func (s *Service) ready(ctx context.Context) error {
	return errors.Join(s.deps.Originals.Ready(ctx), s.deps.Processed.Ready(ctx))
}

// process is the step: it stores the outputs of an analyzed image and returns the result. Everything is stored
// before the result is published.
func (s *Service) process(ctx context.Context, a pipeline.Analysis) (pipeline.Result, error) {
	data, err := objectstore.ReadAll(ctx, s.deps.Originals, a.OriginalPath, a.Size)
	if errors.Is(err, objectstore.ErrNotExist) {
		return pipeline.Result{}, pipeline.OriginalLost(err)
	}
	if err != nil {
		return pipeline.Result{}, fmt.Errorf("read original: %w", err)
	}
	made, err := outputs.Make(data, a, s.config.options())
	if err != nil {
		return pipeline.Result{}, err
	}
	key := pipeline.ProcessedKey(a.TraceID, a.OriginalPath)
	g, ctx := errgroup.WithContext(ctx)
	put := func(key string, c objectstore.Content) {
		g.Go(func() error {
			if err := s.deps.Processed.Put(ctx, key, c); err != nil {
				return fmt.Errorf("store %s: %w", key, err)
			}
			failpoint.Reach("result stored", key)
			return nil
		})
	}
	put(key, objectstore.Content{Data: made.Image, Type: made.ImageType, SHA256: made.ImageSHA256})
	put(pipeline.RecordKey(key), objectstore.Content{Data: made.Record, Type: outputs.RecordType})
	if len(made.Thumbnail) > 0 {
		put(pipeline.ThumbnailKey(key), objectstore.Content{Data: made.Thumbnail, Type: outputs.ThumbnailType})
	}
	if len(made.Sidecar) > 0 {
		put(pipeline.SidecarKey(key), objectstore.Content{Data: made.Sidecar, Type: outputs.SidecarType})
	}
	if err := g.Wait(); err != nil {
		return pipeline.Result{}, err
	}
	failpoint.Reach("results stored", string(a.TraceID))
	r := pipeline.Ended(a.Envelope, key, failpoint.Now())
	r.Appearance, r.Uncaptioned = pipeline.AppearanceOf(a.Metadata), a.Uncaptioned
	return r, nil
}
