package stage_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// line starts a stage from image_upload to metadata_generated. The name of the image's
// file determines the outcome of its step. next returns the next message of a queue.
func line(t *testing.T, tracer *telemetry.Tracer) (publish func(i int, name, traceparent string), next func(queue string) broker.Delivery) {
	t.Helper()
	memory := membroker.New(pipeline.WorkQueues()...)
	b := telemetry.Broker(memory, telemetry.NewRegistry(), tracer)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- stage.Run(ctx, stage.Deps{
			Broker: b, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Traces: tracer, Work: "analysis",
		}, pipeline.ImageUpload, pipeline.MetadataGenerated, func(ctx context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			_, part := tracer.Part(ctx, "GET originals")
			part.End()
			switch {
			case u.OriginalFilename == "damaged.jpg":
				return pipeline.Analysis{}, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image", Err: errors.New("inside")}
			case u.OriginalFilename == "odd.jpg" && u.Attempt == 1:
				return pipeline.Analysis{}, errors.New("inside")
			}
			return analysis(u)
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, memory.Close(), tracer.Close()); err != nil {
			t.Error(err)
		}
	})
	publish = func(i int, name, traceparent string) {
		t.Helper()
		u := upload(i)
		u.OriginalFilename = name
		to := telemetry.Broker(carrying{memory, traceparent}, telemetry.NewRegistry(), tracer)
		if err := stage.Publish(tracer.Within(t.Context(), u.TraceID), to, pipeline.ImageUpload, u); err != nil {
			t.Fatal(err)
		}
	}
	return publish, func(queue string) (got broker.Delivery) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if err := memory.Consume(ctx, queue, 1, func(_ context.Context, d broker.Delivery) error {
			got = d
			stop()
			return d.Ack()
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// carrying is a broker that publishes messages with another service's trace context,
// unless that is empty.
type carrying struct {
	broker.Broker
	traceparent string
}

func (c carrying) Publish(ctx context.Context, queue string, m broker.Message) error {
	if c.traceparent != "" {
		m.Headers["traceparent"] = c.traceparent
	}
	return c.Broker.Publish(ctx, queue, m)
}

// TestTracePassesThrough verifies that a stage without a tracer keeps the traces of the
// others connected: its outgoing messages carry the incoming trace context if that
// belongs to the image.
func TestTracePassesThrough(t *testing.T) {
	publish, next := line(t, nil)
	for i, name := range []string{"a.jpg", "damaged.jpg", "odd.jpg"} {
		id := pipeline.NewTraceID(jobID, i)
		came := "00-" + string(id) + "-b7ad6b7169203331-01"
		publish(i, name, came)
		queue := pipeline.MetadataGenerated.Name
		if name == "damaged.jpg" {
			queue = pipeline.ImageProcessed.Name
		}
		if got := next(queue).Headers; got["traceparent"] != came || len(got) != 1 {
			t.Errorf("%s: incoming traceparent %s, outgoing headers %v; want only the same traceparent", name, came, got)
		}
	}
	for i, came := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "nonsense"} {
		publish(i, "a.jpg", came)
		if got, want := next(pipeline.MetadataGenerated.Name).Headers["traceparent"], pipeline.Traceparent(pipeline.NewTraceID(jobID, i)); got != want {
			t.Errorf("incoming traceparent %q: outgoing %s, want %s", came, got, want)
		}
	}
}

// TestStageSpans verifies the spans of a stage: one span for all work on a message, as
// a child of the span that sent it, with the step's own spans and the publish as its
// children.
func TestStageSpans(t *testing.T) {
	collector := telemetrytest.Start(t)
	tracer, err := telemetry.Open(t.Context(), telemetry.Config{Endpoint: service.SecretURL(collector.URL)}, telemetry.Process{
		Name: "analyzer", Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	publish, next := line(t, tracer)
	for i, name := range []string{"a.jpg", "damaged.jpg", "odd.jpg"} {
		publish(i, name, "")
	}
	for _, queue := range []string{pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name, pipeline.MetadataGenerated.Name} {
		next(queue)
	}
	spans := collector.Await("four analyses", func(spans []telemetrytest.Span) bool { return len(telemetrytest.Named(spans, "analysis")) == 4 })
	parent := map[string]telemetrytest.Span{}
	for _, s := range spans {
		parent[s.SpanID] = s
	}
	type analysisSpan struct{ attempt, outcome, code, message, under, out string }
	got := map[analysisSpan]bool{}
	for _, s := range telemetrytest.Named(spans, "analysis") {
		is := analysisSpan{s.Attributes["attempt"], s.Attributes["outcome"], s.Attributes["error_code"], s.Message, parent[s.Parent].Name, ""}
		for _, part := range spans {
			if part.Parent == s.SpanID && part.Name != "GET originals" {
				is.out = part.Name
			}
		}
		if s.Failed != (is.code != "") || s.Attributes["job_id"] != jobID || s.Attributes["index"] == "" || s.Kind != "consumer" {
			t.Errorf("%+v", s)
		}
		got[is] = true
	}
	for _, want := range []analysisSpan{
		{"1", "done", "", "", "publish image_upload", "publish metadata_generated"},
		{"1", "failed", "damaged_image", "Damaged image", "publish image_upload", "publish image_processed"},
		{"1", "retried", "retried", "", "publish image_upload", "publish image_upload.retry.1s"},
		{"2", "done", "", "", "publish image_upload.retry.1s", "publish metadata_generated"},
	} {
		if !got[want] {
			t.Errorf("no analysis span is %+v:\n%s", want, telemetrytest.List(spans))
		}
	}
	if n := len(telemetrytest.Named(spans, "GET originals")); n != 4 {
		t.Errorf("%d spans of the step, want 4", n)
	}
	for _, s := range telemetrytest.Named(spans, "queue image_upload") {
		if from := parent[s.Parent]; from.Name != "publish image_upload" && from.Name != "publish image_upload.retry.1s" || !s.Start.Equal(from.Start) {
			t.Errorf("the queue span has the parent %+v, want the publish span and its start: %+v", from, s)
		}
	}
}
