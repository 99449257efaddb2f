package membroker

import (
	"context"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

var _ broker.Browser = (*Broker)(nil)

// Browse reads a queue that has no consumer; see broker.Browser.
func (b *Broker) Browse(ctx context.Context, queue string, most int, handle func(context.Context, broker.Letter) error) error {
	c, err := b.browser(queue, most)
	if err != nil {
		return fmt.Errorf("browse %s: %w", queue, err)
	}
	defer c.close()
	defer b.detach(c)
	for range c.prefetch {
		select {
		case m := <-c.deliveries:
			if err := handle(ctx, broker.Letter{Delivery: c.delivery(m), Deaths: m.deaths}); err != nil {
				return err
			}
		case <-b.closed:
			return fmt.Errorf("browse %s: %w", queue, errClosed)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// browser returns a consumer that has the first messages of the queue.
func (b *Broker) browser(queue string, most int) (*consumer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[queue]
	switch {
	case b.isClosed():
		return nil, errClosed
	case q == nil:
		return nil, broker.ErrNoRoute
	case len(q.consumers) > 0 || q.unacked > 0:
		return nil, broker.ErrInUse
	}
	n := min(q.waiting.Len(), most, broker.MaxBrowse)
	c := &consumer{queue: q, prefetch: n, deliveries: make(chan *message, n), unacked: map[*message]struct{}{}}
	q.consumers = append(q.consumers, c)
	q.deliver()
	return c, nil
}

// withDeath returns the message with one more death.
func (m message) withDeath(queue string, now time.Time) message {
	death := broker.Death{Queue: queue, Reason: "delivery_limit", Count: 1, At: now.UTC().Truncate(time.Second)}
	m.deaths = append([]broker.Death{death}, m.deaths...)
	return m
}

// Inspect returns the states of the queues; see broker.Browser.
func (b *Broker) Inspect(ctx context.Context, queues ...string) (map[string]broker.QueueState, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("inspect queues: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return nil, fmt.Errorf("inspect queues: %w", errClosed)
	}
	states := map[string]broker.QueueState{}
	for _, name := range queues {
		if q := b.queues[name]; q != nil {
			states[name] = broker.QueueState{Waiting: q.waiting.Len(), Consumers: len(q.consumers)}
		}
	}
	return states, nil
}
