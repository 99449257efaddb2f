// Package analyzer is the service that decodes each image once and describes it. It keeps no state, so any
// number of analyzers can be started and stopped at any time.
package analyzer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Deps are the analyzer's dependencies.
type Deps struct {
	Broker    broker.Broker
	Originals objectstore.Store
	Log       *slog.Logger
	Metrics   *telemetry.Registry
	Traces    *telemetry.Tracer // may be nil
}

// describer is implemented by [describe.Describer].
type describer interface {
	Describe(ctx context.Context, data []byte) (pipeline.Metadata, []byte, error)
}

// Service is one analyzer.
type Service struct {
	config    Config
	deps      Deps
	describer describer
	ops       *service.Server
}

// New returns an analyzer and opens its admin address, if one is configured.
func New(ctx context.Context, c Config, d Deps) (*Service, error) {
	s := &Service{config: c, deps: d, describer: describe.New(describe.Config{
		PixelBytes: c.MaxPixelBytes, GPS: embedded.GPS(c.MetadataGPS), Metrics: d.Metrics,
	})}
	var err error
	s.ops, err = service.Listen(ctx, c.OpsAddr(), d.Metrics.Handler(),
		service.Check{Name: "broker", Ready: func(context.Context) error { return d.Broker.Ready() }},
		service.Check{Name: "store of originals", Ready: d.Originals.Ready},
	)
	return s, err
}

// Addr returns the admin address, or nil.
func (s *Service) Addr() net.Addr { return s.ops.Addr() }

// Run works until ctx ends and then finishes the images in flight.
func (s *Service) Run(ctx context.Context) error {
	return service.RunParts(ctx, s.deps.Log, s.ops, service.Part{Name: "analyze", Run: func(ctx context.Context) error {
		return stage.Run(ctx, stage.Deps{
			Broker: s.deps.Broker, Log: s.deps.Log, Metrics: s.deps.Metrics,
			Ready: s.deps.Originals.Ready, Concurrency: s.config.Concurrency, Now: failpoint.Now,
			Traces: s.deps.Traces, Work: "analysis",
		}, pipeline.ImageUpload, pipeline.MetadataGenerated, s.analyze)
	}})
}

// analyze is the step: it turns an upload into its analysis.
func (s *Service) analyze(ctx context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
	data, err := objectstore.ReadAll(ctx, s.deps.Originals, u.OriginalPath, u.Size)
	if errors.Is(err, objectstore.ErrNotExist) {
		return pipeline.Analysis{}, pipeline.OriginalLost(err)
	}
	if err != nil {
		return pipeline.Analysis{}, fmt.Errorf("read original: %w", err)
	}
	failpoint.Reach("analysis", u.OriginalFilename)
	found, thumbnail, err := s.describer.Describe(ctx, data)
	if errors.Is(err, describe.ErrNoRoom) {
		// This is not counted as an attempt and is retried soon: memory becomes free when another image is
		// done.
		return pipeline.Analysis{}, fmt.Errorf("%w: %w", stage.ErrUnavailable, err)
	}
	// Describe computes the SHA-256 anyway. It is computed here only for bytes that cannot be described: no
	// image may fail because of bytes that are not its own.
	sum := found.SHA256
	if err != nil {
		sum = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	if sum != u.SHA256 {
		return pipeline.Analysis{}, fmt.Errorf("SHA-256 of original %s differs from the one recorded when it was stored", u.OriginalPath)
	}
	if err != nil {
		return pipeline.Analysis{}, err
	}
	u.Envelope = u.Next(failpoint.Now())
	return pipeline.Analysis{Upload: u, Metadata: found, Thumbnail: thumbnail}, nil
}
