package telemetry_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

var errSecret = errors.New("put id/My secret.jpg: secret")

// failing is a store whose errors contain secrets.
type failing struct{ objectstore.Store }

func (failing) Put(context.Context, string, objectstore.Content) error { return errSecret }

// count returns the number of spans with the outcome.
func (r *rig) count(outcome string) int {
	r.t.Helper()
	_, value, found := strings.Cut(telemetrytest.Scrape(r.t, r.metrics), `imagebatch_spans_total{outcome="`+outcome+`"} `)
	value, _, _ = strings.Cut(value, "\n")
	n, err := strconv.ParseFloat(value, 64)
	if !found || err != nil {
		r.t.Fatalf("no metric of %s spans: %v", outcome, err)
	}
	return int(n)
}

func openStore(t *testing.T) objectstore.Store {
	t.Helper()
	s, err := dirstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStoreSuite(t *testing.T) {
	r := open(t)
	storetest.Run(t, func(t *testing.T) objectstore.Store {
		return telemetry.Store(openStore(t), "originals", r.metrics, r.Tracer)
	})
}

// TestStoreSpans verifies that an operation is a part of the work that needs it, and
// has no span outside of any work.
func TestStoreSpans(t *testing.T) {
	r := open(t)
	s := telemetry.Store(openStore(t), "originals", r.metrics, r.Tracer)
	if err := s.Put(t.Context(), "id/a.jpg", objectstore.Content{Data: []byte("0123456789"), Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	ctx, span := r.Image(t.Context(), image, "analysis")
	if _, err := objectstore.ReadAll(ctx, s, "id/a.jpg", 10); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(ctx, "id/b.jpg"); !errors.Is(err, objectstore.ErrNotExist) {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "id/a.jpg"); err != nil {
		t.Fatal(err)
	}
	span.End()
	spans := r.close()
	work := one(t, spans, "analysis")
	for _, name := range []string{"GET originals", "HEAD originals", "DELETE originals"} {
		if s := one(t, spans, name); s.Parent != work.SpanID || s.TraceID != string(image) || s.Failed != (name == "HEAD originals") {
			t.Errorf("%+v", s)
		}
	}
	if get := one(t, spans, "GET originals"); get.Attributes["bytes"] != "10" || len(spans) != 4 {
		t.Errorf("%s", telemetrytest.List(spans))
	}
}

// TestBrokerSpans verifies the spans of a message: the publish is a child of the work
// that sends it, and the time in the queue and the consumer's work are children of
// the publish.
func TestBrokerSpans(t *testing.T) {
	r := open(t)
	memory := membroker.New("q")
	defer memory.Close()
	b := telemetry.Broker(memory, r.metrics, r.Tracer)
	sender, work := r.Image(t.Context(), image, "analysis")
	headers := map[string]string{"traceparent": pipeline.Traceparent(image)}
	if err := b.Publish(sender, "q", broker.Message{Body: []byte("x"), Headers: headers}); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(sender, "nowhere", broker.Message{}); !errors.Is(err, broker.ErrNoRoute) {
		t.Fatal(err)
	}
	if err := b.Broadcast(sender, "news", nil); err != nil {
		t.Fatal(err)
	}
	if headers["traceparent"] != pipeline.Traceparent(image) || len(headers) != 1 {
		t.Errorf("the sender's own headers changed to %v", headers)
	}
	work.End()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := b.Consume(ctx, "q", 1, func(ctx context.Context, d broker.Delivery) error {
		defer stop()
		_, span := r.Consumed(ctx, image, "processing")
		span.End()
		return d.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	spans := r.close()
	sent := one(t, spans, "publish q")
	if sent.Parent != one(t, spans, "analysis").SpanID || sent.Kind != "producer" || sent.Attributes["messaging.destination.name"] != "q" {
		t.Errorf("publish %+v", sent)
	}
	if s := one(t, spans, "publish nowhere"); !s.Failed || s.Attributes["error_code"] != "returned" {
		t.Errorf("publish %+v", s)
	}
	waited, taken := one(t, spans, "queue q"), one(t, spans, "processing")
	if waited.Parent != sent.SpanID || !waited.Start.Equal(sent.Start) || waited.End.After(taken.Start) || waited.Attributes["redelivered"] != "false" {
		t.Errorf("queue %+v after %+v", waited, sent)
	}
	if taken.Parent != sent.SpanID || taken.Kind != "consumer" || taken.TraceID != string(image) {
		t.Errorf("work %+v", taken)
	}
	one(t, spans, "broadcast news")
}

// TestUnrecordedMessages verifies that the headers of a message outside of any trace
// stay as they are, and that the work on an image stays in the image's trace even if
// its message is in another.
func TestUnrecordedMessages(t *testing.T) {
	r := open(t)
	memory := membroker.New("q")
	defer memory.Close()
	b := telemetry.Broker(memory, r.metrics, r.Tracer)
	const other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, parent := range []string{pipeline.Traceparent(image), other, "nonsense"} {
		if err := b.Publish(t.Context(), "q", broker.Message{Headers: map[string]string{"traceparent": parent}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n := 0
	err := b.Consume(ctx, "q", 1, func(ctx context.Context, d broker.Delivery) error {
		if n++; n == 3 {
			defer stop()
		}
		_, span := r.Consumed(ctx, image, "work "+d.Headers["traceparent"])
		span.End()
		return d.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	spans := r.close()
	for _, parent := range []string{other, "nonsense"} {
		if s := one(t, spans, "work "+parent); s.TraceID != string(image) || s.Parent != pipeline.RootSpan(image) {
			t.Errorf("%+v", s)
		}
	}
	if len(spans) != 2 {
		t.Errorf("%s", telemetrytest.List(spans))
	}
}
