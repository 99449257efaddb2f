package meter

import (
	"context"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/metrics"
)

// Broker is b, counted and timed. It is made once for a broker.
func Broker(b broker.Broker, m *metrics.Registry) broker.Broker {
	m.GaugeFunc("broker_usable", "1 while the process can publish and consume, else 0.", func() float64 {
		if b.Ready() != nil {
			return 0
		}
		return 1
	})
	return &meteredBroker{
		Broker:     b,
		publishes:  m.Counter("broker_publishes_total", "Messages that were published, by queue and outcome; returned: there was no such queue.", "queue", "outcome"),
		confirm:    m.Histogram("broker_confirm_duration_seconds", "Time from a publish to the broker's confirm, waiting for a connection included.", seconds),
		deliveries: m.Counter("broker_deliveries_total", "Messages that were delivered, by queue and whether for the first time.", "queue", "redelivered"),
		consumers:  m.Gauge("broker_consumers", "Consumers at work in this process, by queue, those that wait for the broker included.", "queue"),
		broadcasts: m.Counter("broker_broadcasts_total", "Broadcasts that were sent, by topic and outcome.", "topic", "outcome"),
	}
}

type meteredBroker struct {
	broker.Broker
	publishes  *metrics.Counter
	confirm    *metrics.Histogram
	deliveries *metrics.Counter
	consumers  *metrics.Gauge
	broadcasts *metrics.Counter
}

// Publish implements broker.Broker.
func (b *meteredBroker) Publish(ctx context.Context, queue string, m broker.Message) error {
	began := time.Now()
	err := b.Broker.Publish(ctx, queue, m)
	b.publishes.Inc(queue, Outcome(err))
	if err == nil {
		b.confirm.Observe(time.Since(began).Seconds())
	}
	return err
}

// Consume implements broker.Broker.
func (b *meteredBroker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	b.consumers.Add(1, queue)
	b.deliveries.Add(0, queue, "yes")
	b.deliveries.Add(0, queue, "no")
	defer b.consumers.Add(-1, queue)
	return b.Broker.Consume(ctx, queue, prefetch, func(ctx context.Context, d broker.Delivery) error {
		redelivered := "no"
		if d.Redelivered {
			redelivered = "yes"
		}
		b.deliveries.Inc(queue, redelivered)
		return handle(ctx, d)
	})
}

// Broadcast implements broker.Broker.
func (b *meteredBroker) Broadcast(ctx context.Context, topic string, body []byte) error {
	err := b.Broker.Broadcast(ctx, topic, body)
	b.broadcasts.Inc(topic, Outcome(err))
	return err
}
