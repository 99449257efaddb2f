package tracing

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/meter"
)

// Headers of messages. When a message was published stands beside the trace
// context, because the broker tells that in whole seconds at best.
const (
	traceparentHeader = "traceparent"
	publishedHeader   = "published_at"
)

// Broker is b with a span for each message on its way: one for a publish, in the
// trace that its context is in, and one for the time in the queue, which whoever
// takes the message records. A message carries the trace context of its publish,
// and the handler's context is in it. Broadcasts have spans in traces that there
// are. With a Tracer that is switched off it is b itself.
func Broker(b broker.Broker, t *Tracer) broker.Broker {
	if t == nil {
		return b
	}
	return &tracedBroker{b, t}
}

type tracedBroker struct {
	broker.Broker
	tracer *Tracer
}

// Publish implements broker.Broker.
func (b *tracedBroker) Publish(ctx context.Context, queue string, m broker.Message) error {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return b.Broker.Publish(ctx, queue, m)
	}
	began := time.Now()
	ctx, started := b.tracer.tracer.Start(ctx, "publish "+queue, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(began),
		trace.WithAttributes(attribute.String("messaging.destination.name", queue), attribute.Int("messaging.message.body.size", len(m.Body))))
	span := recorded(started)
	defer span.End()
	m.Headers = maps.Clone(m.Headers)
	if m.Headers == nil {
		m.Headers = map[string]string{}
	}
	m.Headers[traceparentHeader] = write(started.SpanContext())
	m.Headers[publishedHeader] = began.UTC().Format(time.RFC3339Nano)
	err := b.Broker.Publish(ctx, queue, m)
	if err != nil {
		span.Fail(meter.Outcome(err), "")
	}
	return err
}

// Consume implements broker.Broker.
func (b *tracedBroker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	return b.Broker.Consume(ctx, queue, prefetch, func(ctx context.Context, d broker.Delivery) error {
		if sent := parse(d.Headers[traceparentHeader]); sent.IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, sent)
			b.waited(ctx, queue, d)
		}
		return handle(ctx, d)
	})
}

// waited records the time of a message in its queue, from the publish to now.
func (b *tracedBroker) waited(ctx context.Context, queue string, d broker.Delivery) {
	published, err := time.Parse(time.RFC3339Nano, d.Headers[publishedHeader])
	if err != nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	now := time.Now()
	if published.After(now) {
		published = now // by another machine's clock
	}
	_, started := b.tracer.tracer.Start(ctx, "queue "+queue, trace.WithTimestamp(published),
		trace.WithAttributes(attribute.String("messaging.destination.name", queue), attribute.Bool("redelivered", d.Redelivered)))
	recorded(started).endAt(now)
}

// Broadcast implements broker.Broker.
func (b *tracedBroker) Broadcast(ctx context.Context, topic string, body []byte) error {
	ctx, span := b.tracer.Part(ctx, "broadcast "+topic)
	defer span.End()
	err := b.Broker.Broadcast(ctx, topic, body)
	if err != nil {
		span.Fail(meter.Outcome(err), "")
	}
	return err
}
