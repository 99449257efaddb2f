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
	// deliveries holds at most prefetch, as unacked does, so that nobody waits to
	// fill it.
	deliveries chan *message
	unacked    map[*message]struct{}
}

// take is called with the Broker's mu held, when there is room.
func (c *consumer) take(m *message) {
	c.unacked[m] = struct{}{}
	c.deliveries <- m
}

// maxPrefetch is the greatest prefetch that AMQP can ask for; this broker takes no
// more than the other.
const maxPrefetch = 65535

// handlerError tells a handler's error from the end of Consume's context.
type handlerError struct{ error }

// Consume hands deliveries of the queue to handle; see broker.Broker. A queue
// that is not of the topology is an error that wraps ErrNoRoute: it will never
// be there.
func (b *Broker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	if prefetch < 1 || prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: a prefetch of %d is not 1 to %d", queue, prefetch, maxPrefetch)
	}
	if err := b.begun(ctx); err != nil {
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
			// A handler that acks and goes on working keeps its place.
			case slots <- struct{}{}:
			case <-live.Done():
			case <-b.closed:
				stop(fmt.Errorf("consume %s: %w", queue, errClosed))
			}
			if live.Err() != nil {
				break // what was not handed out goes back
			}
			handlers.Go(func() {
				defer func() { <-slots }()
				b.memory.take(c.file(m))
				if err := handle(context.WithoutCancel(ctx), c.delivery(m)); err != nil {
					// The first cause stands: an error after ctx has ended changes nothing.
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

// attach makes a consumer and gives it its first deliveries.
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

// detach stops new deliveries to c. What it has stays its own until close.
func (b *Broker) detach(c *consumer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.queue.consumers = slices.DeleteFunc(c.queue.consumers, func(other *consumer) bool { return other == c })
	c.queue.deliver()
}

// close gives back what was not acked.
func (c *consumer) close() {
	b := c.queue.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	// The last goes to the front first, so that the first ends up there.
	for _, m := range slices.SortedFunc(maps.Keys(c.unacked), func(a, b *message) int { return cmp.Compare(b.place, a.place) }) {
		b.memory.release(c.file(m), c.died(m))
		c.queue.giveBack(m, now)
	}
	clear(c.unacked)
	c.queue.deliver()
	c.queue.watchExpiry(now)
}

// delivery is what the handler gets of a message.
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

// file is where it is remembered that the message is in hand. Where no number of
// deliveries makes a dead letter, nobody is suspected.
func (c *consumer) file(m *message) string {
	if c.queue.spec.DeliveryLimit == 0 {
		return ""
	}
	return c.queue.broker.memory.file(c.queue.spec.Name, m)
}

// died is how many processes have died with the message in hand on this queue.
// The Broker's mu is held.
func (c *consumer) died(m *message) int {
	if file := c.file(m); file != "" {
		return c.queue.broker.memory.deaths[file]
	}
	return 0
}

func (c *consumer) ack(m *message) error {
	if err := c.remove(m); err != nil {
		return err
	}
	c.queue.broker.memory.release(c.file(m), 0)
	return nil
}

// remove takes an acked message from its queue.
func (c *consumer) remove(m *message) error {
	b := c.queue.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, mine := c.unacked[m]; !mine {
		return broker.ErrStale // acked before, or given back at the end of its consumer
	}
	if file := c.file(m); file != "" {
		delete(b.memory.deaths, file)
	}
	delete(c.unacked, m)
	c.queue.unacked--
	c.queue.deliver()
	return nil
}
