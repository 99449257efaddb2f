package telemetry

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// Headers of messages. The time of the publish is a header of ours because the
// broker's own timestamp has whole seconds at best.
const (
	traceparentHeader = "traceparent"
	publishedHeader   = "published_at"
)

// Broker returns b with metrics and spans. Call it once for each broker. It returns
// what b returns, errors included, and calls b exactly as often as it is called.
//
// A message has two spans: the publish, in the trace of its context, and the time in
// the queue, which the consumer records. A message carries the trace context of its
// publish, and the handler's context is in that trace. Without a trace there are no
// spans, and the headers stay as they are. The Tracer may be nil.
func Broker(b broker.Broker, m *Registry, t *Tracer) broker.Broker {
	m.GaugeFunc("broker_usable", "1 if the process can publish and consume, otherwise 0.", func() float64 {
		if b.Ready() != nil {
			return 0
		}
		return 1
	})
	return &observedBroker{
		Broker:     b,
		tracer:     t,
		publishes:  m.Counter("broker_publishes_total", "Published messages, by queue and outcome. returned: the queue does not exist.", "queue", "outcome"),
		confirm:    m.Histogram("broker_confirm_duration_seconds", "Time from a publish to the broker's confirm, including the wait for a connection.", networkBuckets),
		deliveries: m.Counter("broker_deliveries_total", "Delivered messages, by queue and whether they were redelivered.", "queue", "redelivered"),
		consumers:  m.Gauge("broker_consumers", "Active consumers of this process, by queue, including those that wait for the broker.", "queue"),
		broadcasts: m.Counter("broker_broadcasts_total", "Broadcasts sent, by topic and outcome.", "topic", "outcome"),
	}
}

type observedBroker struct {
	broker.Broker
	tracer     *Tracer
	publishes  *Counter
	confirm    *Histogram
	deliveries *Counter
	consumers  *Gauge
	broadcasts *Counter
}

// Publish implements broker.Broker.
func (b *observedBroker) Publish(ctx context.Context, queue string, m broker.Message) error {
	started := time.Now()
	ctx, span := b.tracer.part(ctx, "publish "+queue, trace.SpanKindProducer, started,
		attribute.String("messaging.destination.name", queue), attribute.Int("messaging.message.body.size", len(m.Body)))
	if span != nil {
		headers := map[string]string{}
		maps.Copy(headers, m.Headers)
		headers[traceparentHeader] = traceparent(span.span.SpanContext())
		headers[publishedHeader] = started.UTC().Format(time.RFC3339Nano)
		m.Headers = headers
	}
	err := b.Broker.Publish(ctx, queue, m)
	b.publishes.Inc(queue, outcome(err))
	if err == nil {
		b.confirm.Observe(time.Since(started).Seconds())
	}
	return span.finish(err)
}

// Consume implements broker.Broker.
func (b *observedBroker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	b.consumers.Add(1, queue)
	defer b.consumers.Add(-1, queue)
	b.deliveries.Add(0, queue, "yes")
	b.deliveries.Add(0, queue, "no")
	return b.Broker.Consume(ctx, queue, prefetch, func(ctx context.Context, d broker.Delivery) error {
		redelivered := "no"
		if d.Redelivered {
			redelivered = "yes"
		}
		b.deliveries.Inc(queue, redelivered)
		return handle(b.tracer.delivered(ctx, queue, d), d)
	})
}

// delivered returns ctx in the trace of the message, and records the time that the
// message was in the queue.
func (t *Tracer) delivered(ctx context.Context, queue string, d broker.Delivery) context.Context {
	if t == nil {
		return ctx
	}
	sent := parseTraceparent(d.Headers[traceparentHeader])
	if !sent.IsValid() {
		return ctx
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, sent)
	published, err := time.Parse(time.RFC3339Nano, d.Headers[publishedHeader])
	if err != nil {
		return ctx
	}
	now := time.Now()
	if published.After(now) {
		published = now // another machine's clock is ahead
	}
	_, span := t.part(ctx, "queue "+queue, trace.SpanKindInternal, published,
		attribute.String("messaging.destination.name", queue), attribute.Bool("redelivered", d.Redelivered))
	span.endAt(now)
	return ctx
}

// Broadcast implements broker.Broker.
func (b *observedBroker) Broadcast(ctx context.Context, topic string, body []byte) error {
	ctx, span := b.tracer.Part(ctx, "broadcast "+topic)
	err := b.Broker.Broadcast(ctx, topic, body)
	b.broadcasts.Inc(topic, outcome(err))
	return span.finish(err)
}
