package rabbitmq

import (
	"fmt"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// acknowledger acks the deliveries of one channel of one session until that has ended.
// On another channel, the same delivery tag belongs to another message.
type acknowledger struct {
	ch   *amqp.Channel
	open atomic.Int64 // deliveries that are not acked yet

	// mu guards ended. It is held for reading while an ack is written, so that no ack
	// follows the end.
	mu    sync.RWMutex
	ended bool
}

func (a *acknowledger) end() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
}

// once returns the Ack of one delivery. It rejects a second call, because the broker
// responds to a double ack by closing the channel, which would return other deliveries
// to the queue.
func (a *acknowledger) once(tag uint64) func() error {
	var called atomic.Bool
	a.open.Add(1)
	return func() error {
		if called.Swap(true) {
			return fmt.Errorf("%w: acked twice", broker.ErrStale)
		}
		defer a.open.Add(-1)
		a.mu.RLock()
		defer a.mu.RUnlock()
		if a.ended {
			return broker.ErrStale
		}
		if err := a.ch.Ack(tag, false); err != nil {
			return fmt.Errorf("%w: %w", broker.ErrStale, err)
		}
		return nil
	}
}

// deliveryOf returns the Delivery for the handler, without headers of the broker and of
// this package.
func deliveryOf(acks *acknowledger, d amqp.Delivery) broker.Delivery {
	headers := make(map[string]string, len(d.Headers))
	for k, v := range d.Headers {
		if text, ok := v.(string); ok && !reserved(k) {
			headers[k] = text
		}
	}
	return broker.Delivery{
		Message:     broker.Message{Body: d.Body, Headers: headers},
		Redelivered: d.Redelivered,
		Ack:         acks.once(d.DeliveryTag),
	}
}
