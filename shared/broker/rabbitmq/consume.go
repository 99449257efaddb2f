package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// maxPrefetch is the greatest prefetch that AMQP can ask for.
const maxPrefetch = 65535

// Consume hands deliveries of the queue to handle; see broker.Broker. It begins
// once the routine of the session, and with it the hook, is done.
func (b *Broker) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	if prefetch < 1 || prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: a prefetch of %d is not 1 to %d", queue, prefetch, maxPrefetch)
	}
	b.routine.use()
	live, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &consumer{
		queue: queue, prefetch: prefetch, slots: make(chan struct{}, prefetch),
		handle: func(d broker.Delivery) {
			// The first cause stands: an error after ctx has ended changes nothing.
			if err := handle(context.WithoutCancel(ctx), d); err != nil {
				stop(&handlerError{err})
			}
		},
	}
	// Handlers of an ended session may still run when the next one stands, and at
	// the end of all.
	defer c.handlers.Wait()
	defer b.consuming.note("consumer of "+queue, nil)
	pauses := newBackOff()
	for {
		s, err := b.consuming.await(live, true)
		if err == nil {
			err = c.run(live, s, func() {
				b.consuming.note("consumer of "+queue, nil)
				pauses.Reset()
			})
		} else if live.Err() == nil {
			return fmt.Errorf("consume %s: %w", queue, err)
		}
		if live.Err() != nil {
			if failure, ok := errors.AsType[*handlerError](context.Cause(live)); ok {
				return failure.error
			}
			return nil
		}
		b.consuming.note("consumer of "+queue, err)
		b.log.WarnContext(ctx, "consumer interrupted", "queue", queue, "error", err)
		if errors.Is(err, errCancelled) {
			b.routine.hurry()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-live.Done():
		}
	}
}

// handlerError tells a handler's error from the end of Consume's context.
type handlerError struct{ error }

// errCancelled says that the broker took the queue away from its consumer.
var errCancelled = errors.New("cancelled by the broker: the queue is gone")

// consumer is one call of Consume, through all its sessions.
type consumer struct {
	queue    string
	prefetch int
	handle   func(broker.Delivery)
	handlers sync.WaitGroup
	slots    chan struct{} // one token for each running handler, whatever its session
}

// run consumes until ctx or the session ends.
func (c *consumer) run(ctx context.Context, s *session, stands func()) error {
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
	stands()
	look := time.NewTicker(checkInterval)
	defer look.Stop()
	for alone := 0; ; {
		select {
		case <-ctx.Done():
			c.drain(s, ch)
			return nil
		case <-look.C:
			if !c.forgotten(s) {
				alone = 0
			} else if alone++; alone > 1 {
				return errForgotten
			}
		case d, ok := <-deliveries:
			if !ok {
				return reasonOf(closes, cancels)
			}
			select {
			case c.slots <- struct{}{}:
			case <-ctx.Done():
			case <-s.ended:
				return errLost
			}
			// A delivery that comes with the end is left to go back.
			if ctx.Err() == nil {
				c.start(acks, d)
			}
		}
	}
}

// errForgotten says that a queue was made anew under its consumer.
var errForgotten = errors.New("the queue knows nothing of this consumer")

// forgotten tells whether messages wait in the queue and it has no consumer. A
// queue that had lost its leader ends without a word to those who consumed from it,
// and one made anew in its place does not know them. What can't be asked is no reason to give back what
// is in hand.
func (c *consumer) forgotten(s *session) bool {
	v := &survey{session: s}
	defer v.close()
	found, q, err := v.inspect(c.queue)
	return err == nil && found && q.Messages > 0 && q.Consumers == 0
}

// tag names a consumer. It need be unique on its channel only, and each has one.
const tag = "consumer"

// open asks for deliveries.
func (c *consumer) open(s *session, ch *amqp.Channel) (<-chan amqp.Delivery, error) {
	defer s.within(rpcTimeout)()
	if err := ch.Qos(c.prefetch, 0, false); err != nil {
		return nil, fmt.Errorf("set prefetch: %w", err)
	}
	deliveries, err := ch.Consume(c.queue, tag, false, false, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume: %w", lacksToConsume(err))
	}
	return deliveries, nil
}

// drain stops new deliveries and waits for the running handlers, whose acks still
// count. What was prefetched and never handed out goes back with the channel.
func (c *consumer) drain(s *session, ch *amqp.Channel) {
	stop := s.within(rpcTimeout)
	// An error says that the channel has ended, which stops deliveries as well.
	_ = ch.Cancel(tag, false)
	stop()
	c.handlers.Wait()
}

// start hands one delivery to its handler. Its slot is taken.
func (c *consumer) start(acks *acknowledger, d amqp.Delivery) {
	delivery := deliveryOf(acks, d)
	c.handlers.Go(func() {
		defer func() { <-c.slots }()
		c.handle(delivery)
	})
}

// deliveryOf is a delivery as a handler gets it: without the headers that are the
// broker's or ours.
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

// reasonOf says why deliveries ended.
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

// acknowledger acks the deliveries of one channel of one session, and nothing
// once that has ended. A delivery tag means another message on another channel.
type acknowledger struct {
	ch *amqp.Channel

	// mu guards ended. It is held for reading while an ack is written, so that no
	// ack comes after the end.
	mu    sync.RWMutex
	ended bool
}

func (a *acknowledger) end() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
}

// once is the Ack of one delivery. A second call is refused: the broker answers a
// double ack by closing the channel, which would give its neighbours back.
func (a *acknowledger) once(tag uint64) func() error {
	var called atomic.Bool
	return func() error {
		if called.Swap(true) {
			return fmt.Errorf("%w: acked twice", broker.ErrStale)
		}
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
