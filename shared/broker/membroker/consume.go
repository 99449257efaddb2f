package membroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// consumer is one call of Consume. The Broker's mu guards unacked.
type consumer struct {
	queue    *queue
	prefetch int
	// deliveries has room for prefetch messages, the maximum of unacked, so that
	// sending never blocks.
	deliveries chan *message
	unacked    map[*message]struct{}
}

// take delivers the message to c. The caller holds the Broker's mu, and c has room.
func (c *consumer) take(m *message) {
	c.unacked[m] = struct{}{}
	c.deliveries <- m
}

// maxPrefetch is the largest prefetch that AMQP allows. This broker has the same limit.
const maxPrefetch = 65535

// handlerError distinguishes a handler's error from the end of Consume's context.
type handlerError struct{ error }

// Consume calls handle for the deliveries of the queue; see broker.Broker. A queue
// outside the topology is an error that wraps ErrNoRoute, because it will never exist.
func (b *Broker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	if prefetch < 1 || prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: prefetch is %d, want 1 to %d", queue, prefetch, maxPrefetch)
	}
	if err := b.awaitHook(ctx); err != nil {
		return fmt.Errorf("consume %s: %w", queue, err)
	}
	if ctx.Err() != nil {
		return nil
	}
	live, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c, err := b.attach(queue, prefetch)
	if err != nil {
		return fmt.Errorf("consume %s: %w", queue, err)
	}
	var handlers sync.WaitGroup
	defer c.close()
	defer handlers.Wait()
	slots := make(chan struct{}, prefetch)
	for live.Err() == nil {
		select {
		case <-live.Done():
		case <-b.closed:
			stop(fmt.Errorf("consume %s: %w", queue, errClosed))
		case m := <-c.deliveries:
			select {
			// A handler that continues to work after its ack keeps its slot.
			case slots <- struct{}{}:
			case <-live.Done():
			case <-b.closed:
				stop(fmt.Errorf("consume %s: %w", queue, errClosed))
			}
			if live.Err() != nil {
				break // undelivered messages return to the queue
			}
			handlers.Go(func() {
				defer func() { <-slots }()
				b.deathLog.start(c.file(m))
				if err := handle(context.WithoutCancel(ctx), c.delivery(m)); err != nil {
					// The first cause counts: an error after the end of ctx has no effect.
					stop(&handlerError{err})
				}
			})
		}
	}
	b.detach(c)
	if cause := context.Cause(live); errors.Is(cause, errClosed) {
		return cause
	} else if failure, ok := errors.AsType[*handlerError](cause); ok {
		return failure.error
	}
	return nil
}

// attach adds a consumer to the queue and delivers its first messages.
func (b *Broker) attach(name string, prefetch int) (*consumer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[name]
	if q == nil {
		return nil, broker.ErrNoRoute
	}
	c := &consumer{queue: q, prefetch: prefetch, deliveries: make(chan *message, prefetch), unacked: map[*message]struct{}{}}
	q.consumers = append(q.consumers, c)
	q.deliver()
	return c, nil
}

// detach stops new deliveries to c, which keeps its unacked messages until close.
func (b *Broker) detach(c *consumer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.queue.consumers = slices.DeleteFunc(c.queue.consumers, func(other *consumer) bool { return other == c })
	c.queue.deliver()
}

// close returns the unacked messages to the queue.
func (c *consumer) close() {
	b := c.queue.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	// Push the last message to the front first, so that the first message ends up in front.
	for _, m := range slices.SortedFunc(maps.Keys(c.unacked), func(a, b *message) int { return cmp.Compare(b.place, a.place) }) {
		b.deathLog.end(c.file(m), c.deaths(m))
		c.queue.requeue(m, now)
	}
	clear(c.unacked)
	c.queue.deliver()
	c.queue.watchExpiry(now)
}

// delivery returns the Delivery of the message for the handler.
func (c *consumer) delivery(m *message) broker.Delivery {
	headers := maps.Clone(m.headers)
	if headers == nil {
		headers = map[string]string{}
	}
	return broker.Delivery{
		Message:     broker.Message{Body: m.body, Headers: headers},
		Redelivered: m.deliveries > 0,
		Ack:         func() error { return c.ack(m) },
	}
}

// file returns the name of the message's file in the deathLog, or "" on a queue without
// a delivery limit, where deaths have no effect.
func (c *consumer) file(m *message) string {
	if c.queue.spec.DeliveryLimit == 0 {
		return ""
	}
	return c.queue.broker.deathLog.file(c.queue.spec.Name, m)
}

// deaths returns how many processes died with the message in flight on this queue. The
// caller holds the Broker's mu.
func (c *consumer) deaths(m *message) int {
	if file := c.file(m); file != "" {
		return c.queue.broker.deathLog.deaths[file]
	}
	return 0
}

func (c *consumer) ack(m *message) error {
	if err := c.remove(m); err != nil {
		return err
	}
	c.queue.broker.deathLog.end(c.file(m), 0)
	return nil
}

// remove removes an acked message from its queue.
func (c *consumer) remove(m *message) error {
	b := c.queue.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, mine := c.unacked[m]; !mine {
		return broker.ErrStale // already acked, or returned to the queue when the consumer closed
	}
	if file := c.file(m); file != "" {
		delete(b.deathLog.deaths, file)
	}
	delete(c.unacked, m)
	c.queue.unacked--
	c.queue.deliver()
	return nil
}
