package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// maxPrefetch is the largest prefetch that AMQP allows.
const maxPrefetch = 65535

// Consume calls handle for the deliveries of the queue; see broker.Broker. It starts
// when the routine of the session, including the hook, has succeeded.
func (b *Broker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	if prefetch < 1 || prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: prefetch is %d, want 1 to %d", queue, prefetch, maxPrefetch)
	}
	b.routine.use()
	defer b.consumes(queue)()
	live, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &consumer{
		queue: queue, prefetch: prefetch, slots: make(chan struct{}, prefetch),
		renewAfter: b.config.RenewAfter, quiet: b.config.RenewAfter,
		handle: func(d broker.Delivery) {
			// The first cause counts: an error after the end of ctx has no effect.
			if err := handle(context.WithoutCancel(ctx), d); err != nil {
				stop(&handlerError{err})
			}
		},
	}
	// Handlers of an ended session may still run during the next session, and when
	// Consume ends.
	defer c.handlers.Wait()
	source := "consumer of " + queue
	defer b.consuming.note(source, nil)
	b.consuming.note(source, stepError("not started yet"))
	pauses := newBackOff()
	for {
		s, err := b.consuming.await(live, true)
		if err == nil {
			err = c.run(live, s, func() {
				b.consuming.note(source, nil)
				pauses.Reset()
			})
			if errors.Is(err, errRenewed) {
				continue
			}
		} else if live.Err() == nil {
			return fmt.Errorf("consume %s: %w", queue, err)
		}
		if live.Err() != nil {
			if failure, ok := errors.AsType[*handlerError](context.Cause(live)); ok {
				return failure.error
			}
			return nil
		}
		if last := b.consuming.noted(source); last == nil || last.Error() != err.Error() { // not at every try
			b.log.WarnContext(ctx, "consumer interrupted", "queue", queue, "error", err)
		}
		b.consuming.note(source, err)
		if errors.Is(err, errCancelled) {
			b.routine.checkNow()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-live.Done():
		}
	}
}

// consumes notes that the queue is consumed, until the returned function is called.
func (b *Broker) consumes(queue string) (end func()) {
	add := func(n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.consumed[queue] += n; b.consumed[queue] == 0 {
			delete(b.consumed, queue)
		}
	}
	add(1)
	return func() { add(-1) }
}

// checkConsumed checks repeatedly, until ctx ends, whether the node in use reaches the queues
// that are consumed, and otherwise moves to another node. A consumer would not notice.
func (b *Broker) checkConsumed(ctx context.Context) {
	for {
		select {
		case <-time.After(b.config.UnresponsiveAfter / 8):
		case <-ctx.Done():
			return
		}
		var specs []broker.QueueSpec
		b.mu.Lock()
		for _, queue := range slices.Sorted(maps.Keys(b.consumed)) {
			specs = append(specs, broker.QueueSpec{Name: queue})
		}
		b.mu.Unlock()
		if _, err := b.prober.check(ctx, specs); err != nil && ctx.Err() == nil {
			b.log.DebugContext(ctx, "queue health check failed", "error", err)
		}
	}
}

// handlerError distinguishes a handler's error from the end of Consume's context.
type handlerError struct{ error }

// errCancelled means that the broker has cancelled a consumer because its queue was
// deleted.
var errCancelled = errors.New("cancelled by the broker: queue deleted")

// consumer is a call of Consume, through all its sessions.
type consumer struct {
	queue    string
	prefetch int
	handle   func(broker.Delivery)
	handlers sync.WaitGroup
	slots    chan struct{} // one token for each running handler of any session

	renewAfter time.Duration // Config.RenewAfter
	quiet      time.Duration // time without a message until the channel is renewed
}

// Limits in multiples of Config.RenewAfter.
const (
	maxQuiet = 10  // time without a message until a channel is renewed
	maxAge   = 120 // age at which a channel is renewed although it has messages
)

// errRenewed means that a consumer has ended its channel to open another.
var errRenewed = errors.New("channel is being renewed")

// run consumes until ctx or the session ends, or until the channel is due for renewal.
//
// RabbitMQ can lose a delivery or an ack when a queue changes its leader during a network
// failure. Without a sign to the client, it then counts the message as held by this channel, as long as the channel is open:
// no consumer gets the message, one place of the prefetch is lost, and the log of the queue grows
// (rabbitmq-server issue 15473). The end of the channel returns such messages to the queue.
func (c *consumer) run(ctx context.Context, s *session, subscribed func()) error {
	ch, err := s.channel()
	if err != nil {
		return err
	}
	acks := &acknowledger{ch: ch}
	defer func() {
		acks.end()
		s.closeChannel(ch)
	}()
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	cancels := ch.NotifyCancel(make(chan string, 1))
	deliveries, err := c.open(s, ch)
	if err != nil {
		return err
	}
	subscribed()
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	quiet, age := time.NewTimer(c.quiet), time.NewTimer(maxAge*c.renewAfter)
	defer quiet.Stop()
	defer age.Stop()
	for unknown := 0; ; {
		select {
		case <-ctx.Done():
			c.drain(s, ch)
			return nil
		case <-age.C:
			return c.renew(ctx, s, acks, deliveries)
		case <-quiet.C:
			if acks.open.Load() == 0 && len(c.slots) == 0 { // Handlers of an earlier session may still run.
				c.quiet = min(2*c.quiet, maxQuiet*c.renewAfter)
				return c.renew(ctx, s, acks, deliveries)
			}
			quiet.Reset(c.quiet)
		case <-check.C:
			if !c.forgotten(s) {
				unknown = 0
			} else if unknown++; unknown > 1 {
				return errForgotten
			}
		case d, ok := <-deliveries:
			if !ok {
				return reasonOf(closes, cancels)
			}
			c.quiet = c.renewAfter
			quiet.Reset(c.quiet)
			if !c.take(ctx, s) {
				continue // The delivery returns to the queue.
			}
			c.start(acks, d)
		}
	}
}

// take takes a slot. It reports false if ctx or the session has ended.
func (c *consumer) take(ctx context.Context, s *session) bool {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	case <-s.ended:
		return false
	}
	if ctx.Err() == nil {
		return true
	}
	<-c.slots
	return false
}

// renew stops new deliveries and waits until all messages that have arrived are handled. A message that the queue
// gave to this consumer in the same moment returns to it, marked Redelivered. renew returns errRenewed, or nil if ctx ends.
func (c *consumer) renew(ctx context.Context, s *session, acks *acknowledger, deliveries <-chan amqp.Delivery) error {
	if err := c.cancel(s, acks.ch); err != nil {
		return fmt.Errorf("renew the channel: %w", err)
	}
	for d := range deliveries {
		if !c.take(ctx, s) {
			break
		}
		c.start(acks, d)
	}
	free := 0
	for free < c.prefetch && c.take(ctx, s) {
		free++
	}
	for range free {
		<-c.slots
	}
	switch {
	case ctx.Err() != nil:
		c.handlers.Wait()
		return nil
	case free < c.prefetch:
		return errLost
	}
	return errRenewed
}

// errForgotten means that a queue was deleted and declared again during the
// consumption.
var errForgotten = errors.New("queue was declared again without this consumer")

// forgotten reports whether messages wait on the queue and it has no consumer. A queue
// that had lost its leader is deleted without notifying its consumers, and the queue
// declared in its place does not have them. An error is ignored: it is no reason to
// return messages in flight.
func (c *consumer) forgotten(s *session) bool {
	v := &survey{session: s}
	defer v.close()
	found, q, err := v.inspect(c.queue)
	return err == nil && found && q.Messages > 0 && q.Consumers == 0
}

// tag is the consumer tag. It must be unique only within its channel, and each consumer
// has its own.
const tag = "consumer"

// open starts the deliveries.
func (c *consumer) open(s *session, ch *amqp.Channel) (<-chan amqp.Delivery, error) {
	defer s.within(rpcTimeout)()
	if err := ch.Qos(c.prefetch, 0, false); err != nil {
		return nil, fmt.Errorf("set prefetch: %w", err)
	}
	deliveries, err := ch.Consume(c.queue, tag, false, false, false, false, nil)
	if isMissing(err) {
		return nil, fmt.Errorf("queue %s does not exist; the gateway declares it", c.queue)
	}
	if err != nil {
		return nil, fmt.Errorf("consume: %w", lacksToConsume(err))
	}
	return deliveries, nil
}

// drain stops new deliveries and waits for the running handlers, whose acks still
// count. Prefetched messages that no handler has received return to the queue when the
// channel closes.
func (c *consumer) drain(s *session, ch *amqp.Channel) {
	_ = c.cancel(s, ch) // An error means that the channel has closed, which stops deliveries as well.
	c.handlers.Wait()
}

// cancel stops new deliveries.
func (c *consumer) cancel(s *session, ch *amqp.Channel) error {
	defer s.within(rpcTimeout)()
	return ch.Cancel(tag, false)
}

// start runs the handler for one delivery. The caller has taken its slot.
func (c *consumer) start(acks *acknowledger, d amqp.Delivery) {
	delivery := deliveryOf(acks, d)
	c.handlers.Go(func() {
		defer func() { <-c.slots }()
		c.handle(delivery)
	})
}

// reasonOf returns why the deliveries ended.
func reasonOf(closes chan *amqp.Error, cancels chan string) error {
	select {
	case _, cancelled := <-cancels:
		if cancelled {
			return errCancelled
		}
	default:
	}
	select {
	case cause := <-closes:
		if cause != nil {
			return fmt.Errorf("channel closed: %w", cause)
		}
	default:
	}
	return errors.New("channel closed")
}
