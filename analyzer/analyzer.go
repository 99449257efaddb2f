// Package analyzer is the service that decodes each image once and describes it, and that asks a vision model what the
// image shows, if captions are on. It keeps no state, so any number of analyzers can be started and stopped at any time.
package analyzer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/analyzer/internal/caption"
	"github.com/imagebatch/imagebatch/analyzer/internal/captioner"
	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
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
	Processed objectstore.Store // only for the answers of vision models; used only if captions are on
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
	model     *vision.Client       // nil: captions are off
	captioner *captioner.Captioner // nil likewise
	ops       *service.Server
}

// New returns an analyzer and opens its admin address, if one is configured.
func New(ctx context.Context, c Config, d Deps) (*Service, error) {
	describer := describe.New(describe.Config{PixelBytes: c.MaxPixelBytes, GPS: embedded.GPS(c.MetadataGPS), Metrics: d.Metrics})
	s := &Service{config: c, deps: d, describer: describer}
	checks := []service.Check{
		{Name: "broker", Ready: func(context.Context) error { return d.Broker.Ready() }},
		{Name: "store of originals", Ready: d.Originals.Ready},
	}
	if c.On() {
		if err := s.openCaptioner(describer); err != nil {
			return nil, err
		}
		if c.does(captionStep) {
			checks = append(checks, service.Check{Name: "store of processed images", Ready: d.Processed.Ready})
		}
	}
	var err error
	s.ops, err = service.Listen(ctx, c.OpsAddr(), d.Metrics.Handler(), checks...)
	if err == nil {
		s.ops.ReportFaults(s.Faults)
	}
	return s, err
}

func (s *Service) openCaptioner(decoder vision.Decoder) error {
	roots, err := s.config.Roots()
	if err != nil {
		return err
	}
	s.model, err = vision.New(s.config.client(), vision.Deps{Log: s.deps.Log, Metrics: s.deps.Metrics, Traces: s.deps.Traces, Roots: roots, Now: failpoint.Now})
	if err != nil {
		return fmt.Errorf("captions: %w", err)
	}
	s.captioner = captioner.New(captioner.Config{
		Fields: s.config.CaptionFields, Keywords: s.config.CaptionKeywords, Pixels: s.config.CaptionPixels, MaxWait: s.config.CaptionMaxWait,
	}, captioner.Deps{
		Model: s.model, Decoder: decoder, Originals: s.deps.Originals,
		Answers: captioner.NewAnswers(s.deps.Processed, s.deps.Metrics), Log: s.deps.Log, Now: failpoint.Now,
	})
	return nil
}

// Faults returns what currently keeps images from getting captions, for /readyz.
func (s *Service) Faults() []string {
	if s.model == nil {
		return nil
	}
	return s.model.Faults()
}

// Addr returns the admin address, or nil.
func (s *Service) Addr() net.Addr { return s.ops.Addr() }

// Run works until ctx ends and then finishes the images in flight.
func (s *Service) Run(ctx context.Context) error {
	d := stage.Deps{
		Broker: s.deps.Broker, Log: s.deps.Log, Metrics: s.deps.Metrics,
		Ready: s.deps.Originals.Ready, Concurrency: s.config.Concurrency, Now: failpoint.Now, Traces: s.deps.Traces,
	}
	var parts []service.Part
	if s.model != nil && s.config.does(captionStep) {
		defer s.model.Close()
		parts = append(parts, service.Part{Name: "vision models", Run: s.model.Run})
	}
	g := service.Part{Name: "analyze", Run: func(ctx context.Context) error {
		g, gctx := errgroup.WithContext(ctx)
		order := new(stage.Precedence) // An image that kills the process while it is described must not take a described one with it.
		if s.config.does(captionStep) {
			d := d
			d.Leads = order
			g.Go(func() error { return s.caption(gctx, d) })
		}
		if s.config.does(describeStep) {
			d := d
			d.Work = "analysis"
			if s.config.does(captionStep) {
				d.Yields = order
			}
			g.Go(func() error { return stage.Route(gctx, d, pipeline.ImageUpload, s.next, s.analyze) })
		}
		return g.Wait()
	}}
	return service.RunParts(ctx, s.deps.Log, s.ops, append(parts, g)...)
}

// next returns the queue of an analyzed image.
func (s *Service) next(a pipeline.Analysis) pipeline.Queue[pipeline.Analysis] {
	if s.captioner != nil && s.captioner.Wanted(a) {
		return pipeline.ImageDescribed
	}
	return pipeline.MetadataGenerated
}

// caption runs the caption step. With captions off, it passes on the images that an analyzer with captions has left.
func (s *Service) caption(ctx context.Context, d stage.Deps) error {
	d.Work = "captioning"
	if s.captioner == nil {
		return captioner.Pass(ctx, d)
	}
	d.Concurrency = s.config.CaptionConcurrency
	return s.captioner.Run(ctx, d, s.config.CaptionTimeout)
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
	if u.RemoveCaptions {
		caption.Remove(&found)
	}
	u.Envelope = u.Next(failpoint.Now())
	return pipeline.Analysis{Upload: u, Metadata: found, Thumbnail: thumbnail}, nil
}
