package intake

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// traced gives the Intake a tracer; spans closes it and returns the exported spans.
func traced(t *testing.T, in *Intake) (spans func() []telemetrytest.Span) {
	t.Helper()
	collector := telemetrytest.Start(t)
	tracer, err := telemetry.Open(t.Context(), telemetry.Config{Endpoint: service.SecretURL(collector.URL)}, telemetry.Process{
		Name: "gateway", Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	in.deps.Traces = tracer
	return func() []telemetrytest.Span {
		t.Helper()
		if err := tracer.Close(); err != nil {
			t.Fatal(err)
		}
		return collector.Spans()
	}
}

// rootsOf returns the root spans of the first images of a batch.
func rootsOf(spans []telemetrytest.Span, id string, images int) (roots [][]telemetrytest.Span) {
	for i := range images {
		var of []telemetrytest.Span
		for _, s := range telemetrytest.Named(spans, "image") {
			if s.TraceID == string(pipeline.NewTraceID(id, i)) {
				of = append(of, s)
			}
		}
		roots = append(roots, of)
	}
	return roots
}

// TestTracesOfAFailedRequest verifies that the spans of images have a root even when their request
// fails, at an image or at the end.
func TestTracesOfAFailedRequest(t *testing.T) {
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
				t.Errorf("image %d: %s", i, telemetrytest.List(of))
			}
		}
		if intakes := telemetrytest.Named(got, "intake"); len(intakes) != 2 || intakes[0].Failed || intakes[1].Failed != atAnImage {
			t.Errorf("%s", telemetrytest.List(got))
		}
	}
}

// TestTracesOfAnUncertainJob verifies that a job that may exist after a failed commit ends
// the traces of its images itself.
func TestTracesOfAnUncertainJob(t *testing.T) {
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
		t.Errorf("%s, want none", telemetrytest.List(got))
	}
}
