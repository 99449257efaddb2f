// Package settle is the last step of the pipeline: it applies the results of images, and the
// dead letters of images that failed permanently, to their jobs.
//
// It guarantees that a message is acked only after its change is durable, and that a message
// that is repeated, late, out of order or for a deleted job changes nothing. It rejects
// results that contradict themselves: their images fail. It moves results of another job
// store's images to [broker.ForeignResults].
package settle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Deps are the dependencies of Run.
type Deps struct {
	Jobs   jobs
	Store  string // ID of the job store
	Broker broker.Broker
	// Changed is called after every commit that gave a job a new revision.
	Changed func(ctx context.Context, jobID string, revision int64)
	// Settled is called after every result that ended an image.
	Settled func()
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Now     func() time.Time  // default time.Now
	Traces  *telemetry.Tracer // may be nil

	Concurrency int // results in flight, which the store commits together; default 64
}

// jobs is the part of the job store that Run writes to.
type jobs interface {
	// Change applies the transition to one image and its job in one durable transaction. It
	// returns the job without its images and whether anything changed. It returns
	// job.ErrNotFound, job.ErrUnavailable or the transition's error.
	Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error)
	// Ready returns nil when the store can write.
	Ready(ctx context.Context) error
}

// Run settles results and dead letters until ctx is done. Then it finishes those in flight and
// returns nil.
func Run(ctx context.Context, d Deps) error {
	s := newSettler(d)
	deps := stage.Deps{
		Broker: d.Broker, Log: d.Log, Metrics: d.Metrics, Now: s.deps.Now, Ready: d.Jobs.Ready, Concurrency: s.deps.Concurrency,
		Traces: d.Traces, Work: "settle",
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stage.Drain(ctx, deps, pipeline.ImageProcessed, s.result) })
	g.Go(func() error {
		deps := deps
		deps.Concurrency = min(deps.Concurrency, 8)
		return stage.DrainDead(ctx, deps, s.dead)
	})
	return g.Wait()
}

type settler struct {
	deps    Deps
	results *telemetry.Counter
}

func newSettler(d Deps) *settler {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Concurrency == 0 {
		d.Concurrency = 64
	}
	return &settler{
		deps: d,
		results: d.Metrics.Counter("results_total", "Settled results and dead letters, by outcome.", "outcome").
			From0(string(pipeline.Completed), string(pipeline.Failed), "dead", "late", "unknown_job", "foreign", "malformed"),
	}
}

// result settles the image of a result.
func (s *settler) result(ctx context.Context, r pipeline.Result) error {
	if !s.valid(ctx, r.Envelope) {
		return nil
	}
	if s.foreign(r.Envelope) {
		return s.setAside(ctx, r)
	}
	if err := check(r); err != nil {
		return err
	}
	return s.settle(ctx, r, string(r.Status))
}

// dead settles the image of a dead letter as failed.
func (s *settler) dead(ctx context.Context, e pipeline.Envelope) error {
	if !s.valid(ctx, e) {
		return nil
	}
	s.deps.Log.ErrorContext(ctx, "image failed permanently", "image", e)
	f := &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: "Image could not be processed", Retryable: true}
	r := f.Result(e, s.deps.Now())
	if s.foreign(e) {
		return s.setAside(ctx, r)
	}
	return s.settle(ctx, r, "dead")
}

// foreign reports whether the image belongs to another job store, because the broker has
// changed hands or several gateways share it.
func (s *settler) foreign(e pipeline.Envelope) bool { return e.Store != "" && e.Store != s.deps.Store }

// setAside moves the result to the queue for foreign results.
func (s *settler) setAside(ctx context.Context, r pipeline.Result) error {
	s.deps.Log.WarnContext(ctx, "result belongs to another job store", "image", r.Envelope, "store", r.Store)
	if err := stage.Publish(ctx, s.deps.Broker, pipeline.Queue[pipeline.Result]{Name: broker.ForeignResults}, r); err != nil {
		return fmt.Errorf("set aside the result of another job store: %w", err)
	}
	s.results.Inc("foreign")
	return nil
}

// valid reports whether the trace ID in the envelope matches its job and index. If it does not, the
// envelope identifies no image that could fail.
func (s *settler) valid(ctx context.Context, e pipeline.Envelope) bool {
	if e.TraceID == pipeline.NewTraceID(e.JobID, e.Index) {
		return true
	}
	s.results.Inc("malformed")
	s.deps.Log.ErrorContext(ctx, "message does not identify an image", "image", e)
	return false
}

// settle applies the result in one transaction and announces the new revision.
func (s *settler) settle(ctx context.Context, r pipeline.Result, outcome string) error {
	now := s.deps.Now()
	j, changed, err := s.deps.Jobs.Change(ctx, job.Ref{JobID: r.JobID, Index: r.Index}, job.Settle(r, now), now)
	switch {
	case errors.Is(err, job.ErrNotFound):
		// Retention or an operator deleted the job: no client waits for this result.
		s.results.Inc("unknown_job")
		s.deps.Log.DebugContext(ctx, "result of an unknown image", "image", r.Envelope)
		return nil
	case errors.Is(err, job.ErrUnavailable):
		return fmt.Errorf("settle image: %w: %w", stage.ErrUnavailable, err)
	case err != nil:
		return fmt.Errorf("settle image: %w", err)
	case !changed:
		s.results.Inc("late")
		return nil
	}
	failpoint.Reach("result settled", outcome)
	s.results.Inc(outcome)
	s.deps.Settled()
	s.deps.Changed(ctx, j.ID, j.Revision)
	failpoint.Reach("watchers told", outcome)
	return nil
}

// check rejects a result that contradicts itself. A retry cannot fix it, but the stage then
// ends the image as failed instead of storing a wrong result.
func check(r pipeline.Result) error {
	switch {
	case r.Status != pipeline.Completed && r.Status != pipeline.Failed:
		return fmt.Errorf("image has the status %q", r.Status)
	case r.Status == pipeline.Completed && !strings.HasPrefix(r.ProcessedPath, string(r.TraceID)+"/"):
		return fmt.Errorf("processed path %q is not below the trace id", r.ProcessedPath)
	}
	return nil
}
