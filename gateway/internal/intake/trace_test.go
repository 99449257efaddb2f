package intake

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/metrics"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/tracing"
	"github.com/imagebatch/imagebatch/shared/tracing/tracingtest"
)

// traced gives the Intake a tracer; spans ends it and returns what it has sent.
func traced(t *testing.T, in *Intake) (spans func() []tracingtest.Span) {
	t.Helper()
	collector := tracingtest.Start(t)
	tracer, err := tracing.Open(t.Context(), tracing.Config{Endpoint: service.SecretURL(collector.URL)}, tracing.Process{
		Name: "gateway", Log: slog.New(slog.DiscardHandler), Metrics: metrics.New(),
	})
	if err != nil {
		t.Fatal(err)
	}
	in.deps.Traces = tracer
	return func() []tracingtest.Span {
		t.Helper()
		if err := tracer.Close(); err != nil {
			t.Fatal(err)
		}
		return collector.Spans()
	}
}

// rootsOf are the root spans of the first images of a batch.
func rootsOf(spans []tracingtest.Span, id string, images int) (roots [][]tracingtest.Span) {
	for i := range images {
		var of []tracingtest.Span
		for _, s := range tracingtest.Named(spans, "image") {
			if s.TraceID == string(pipeline.NewTraceID(id, i)) {
				of = append(of, s)
			}
		}
		roots = append(roots, of)
	}
	return roots
}

// TestTracesOfNoJob holds that what was recorded of images has a root also when
// their request came to nothing, at an image or at the end.
func TestTracesOfNoJob(t *testing.T) {
	for _, atAnImage := range []bool{true, false} {
		r := setup(t)
		in := r.intake("gateway-1", r.broker)
		spans := traced(t, in)
		b := in.Begin()
		if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
			t.Fatal(err)
		}
		if atAnImage {
			r.originals.fail(func(method, _ string) error {
				if method == "Put" {
					return objectstore.ErrUnavailable
				}
				return nil
			})
			if err := b.Add(t.Context(), Source{Data: jpegBytes(1)}); !errors.Is(err, objectstore.ErrUnavailable) {
				t.Fatal(err)
			}
		} else {
			if err := b.Add(t.Context(), Source{Data: jpegBytes(1)}); err != nil {
				t.Fatal(err)
			}
		}
		b.Abort(t.Context())
		b.Abort(t.Context())
		got := spans()
		for i, of := range rootsOf(got, b.ID(), 2) {
			if len(of) != 1 || !of[0].Failed || of[0].Attributes["error_code"] != "not_accepted" {
				t.Errorf("image %d: %s", i, tracingtest.List(of))
			}
		}
		if intakes := tracingtest.Named(got, "intake"); len(intakes) != 2 || intakes[0].Failed || intakes[1].Failed != atAnImage {
			t.Errorf("%s", tracingtest.List(got))
		}
	}
}

// TestTracesOfADoubtfulJob holds that a job that may be there after all ends the
// traces of its images itself.
func TestTracesOfADoubtfulJob(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	spans := traced(t, in)
	r.jobs.set(false, "Create", func() error { return job.ErrUnavailable })
	b := in.Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context()); !errors.Is(err, job.ErrUnavailable) {
		t.Fatal(err)
	}
	b.Abort(t.Context())
	if got := spans(); len(rootsOf(got, b.ID(), 1)[0]) != 0 {
		t.Errorf("%s, want none", tracingtest.List(got))
	}
}
