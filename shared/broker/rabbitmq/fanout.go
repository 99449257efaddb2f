package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// maxBacklog limits the broadcasts that wait for one subscriber, in the broker and
// again in this process. Beyond it, the oldest are dropped.
const maxBacklog = 1024

// fanout publishes the broadcasts of one publishing session, unconfirmed.
type fanout struct {
	session *session
	declare bool

	// mu guards the fields below.
	mu      sync.Mutex
	ch      *amqp.Channel // nil until the first broadcast, and after a channel error
	closes  chan *amqp.Error
	topics  map[string]struct{}
	last    string // topic of the last broadcast
	refused error  // error of the last refused broadcast, until one is accepted
	checks  int    // checks since the last probe
	age     int    // checks since the channel was opened
}

// probeType is the type of a message that only tests whether the user may publish.
const probeType = "imagebatch.probe"

// probeChecks is the number of checks from one probe to the next.
const probeChecks = 5

// check returns an error if the broker refuses broadcasts. The broker refuses by
// closing the channel, some time later. So check must be called repeatedly, and after a
// refusal it sends a probe from time to time. A channel that survives two checks shows
// that broadcasts are accepted.
func (f *fanout) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.age++; !f.noteClose() && f.closes != nil && f.age > 1 {
		f.refused = nil
	}
	if f.refused == nil {
		return nil
	}
	if f.checks++; f.checks >= probeChecks {
		f.checks = 0
		// The next check sees the result.
		_ = f.publish(f.last, amqp.Publishing{Type: probeType, DeliveryMode: amqp.Transient})
	}
	return f.refused
}

// noteClose reports whether the channel was closed since the last call, and notes a refusal. The caller holds mu.
func (f *fanout) noteClose() bool {
	select {
	case cause, ok := <-f.closes:
		if f.closes = nil; ok && cause != nil {
			f.refused = fmt.Errorf("broadcast to %s: %w", f.last, lacksToPublish(cause))
		}
		return true
	default:
		return false
	}
}

// Broadcast sends body to all current subscribers of the topic; see broker.Broker.
// Without a session it fails immediately.
func (b *Broker) Broadcast(ctx context.Context, topic string, body []byte) error {
	if err := checkMessage(topic, broker.Message{Body: body}); err != nil {
		return fmt.Errorf("broadcast to %.64q: %w", topic, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("broadcast to %s: %w", topic, err)
	}
	b.publishing.mu.Lock()
	s := b.publishing.session
	b.publishing.mu.Unlock()
	err := errors.New("not connected")
	if s != nil {
		if err = s.publisher.blockage(); err == nil {
			defer s.within(b.config.PublishTimeout)()
			err = s.publisher.fanout.send(topic, body)
		}
	}
	if err != nil {
		return fmt.Errorf("broadcast to %s: %w: %w", topic, broker.ErrUnavailable, err)
	}
	return nil
}

func (f *fanout) send(topic string, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.publish(topic, amqp.Publishing{ContentType: amqp.MimeApplicationJSON, DeliveryMode: amqp.Transient, Body: body})
}

// publish publishes a broadcast. The caller holds mu.
func (f *fanout) publish(topic string, message amqp.Publishing) error {
	if f.ch == nil || f.ch.IsClosed() {
		f.noteClose()
		ch, err := f.session.conn.Channel()
		if err != nil {
			return fmt.Errorf("open channel: %w", err)
		}
		f.age = 0
		f.ch, f.topics, f.closes = ch, map[string]struct{}{}, ch.NotifyClose(make(chan *amqp.Error, 1))
	}
	if _, known := f.topics[topic]; !known && f.declare {
		if err := declareTopic(f.ch, topic); err != nil {
			return err
		}
		f.topics[topic] = struct{}{}
	}
	f.last = topic
	_, err := f.ch.PublishWithDeferredConfirm(topic, "", false, false, message)
	return err
}

func declareTopic(ch *amqp.Channel, topic string) error {
	if err := ch.ExchangeDeclare(topic, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare topic %s: %w", topic, lacksToConfigure(err))
	}
	return nil
}

// Subscribe calls handle for every broadcast of the topic; see broker.Broker. A handle
// that falls more than 1024 broadcasts behind loses the oldest.
func (b *Broker) Subscribe(ctx context.Context, topic string, resumed func(), handle func([]byte)) error {
	pauses := newBackOff()
	defer b.consuming.note("consumer of topic "+topic, nil)
	for {
		s, err := b.consuming.await(ctx, false)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("subscribe to %s: %w", topic, err)
		}
		err = b.subscription(ctx, s, topic, func() {
			b.consuming.note("consumer of topic "+topic, nil)
			pauses.Reset()
			if resumed != nil {
				resumed()
			}
		}, handle)
		if ctx.Err() != nil {
			return nil
		}
		b.consuming.note("consumer of topic "+topic, err)
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			return nil
		}
	}
}

// subscription runs one subscription and returns why it ended.
func (b *Broker) subscription(ctx context.Context, s *session, topic string, subscribed func(), handle func([]byte)) error {
	ch, err := s.channel()
	if err != nil {
		return err
	}
	waiting := make(chan []byte, maxBacklog)
	var receiving sync.WaitGroup
	// The channel closes first, which ends the deliveries and thus the receiver.
	defer receiving.Wait()
	defer s.closeChannel(ch)
	deliveries, err := b.bind(s, ch, topic)
	if err != nil {
		return err
	}
	// The broker sends without waiting for acks: a slow handle must not make the
	// library buffer without limit.
	receiving.Go(func() {
		defer close(waiting)
		for d := range deliveries {
			if d.Type == probeType {
				continue
			}
			for sent := false; !sent; {
				select {
				case waiting <- d.Body:
					sent = true
				default:
					select {
					case <-waiting:
					default:
					}
				}
			}
		}
	})
	subscribed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case body, ok := <-waiting:
			if !ok {
				return errors.New("subscription lost")
			}
			if ctx.Err() == nil {
				handle(body)
			}
		}
	}
}

// bind declares a queue for this subscription, which is deleted when the session ends.
func (b *Broker) bind(s *session, ch *amqp.Channel, topic string) (<-chan amqp.Delivery, error) {
	defer s.within(rpcTimeout)()
	if b.config.Declare {
		if err := declareTopic(ch, topic); err != nil {
			return nil, err
		}
	}
	q, err := ch.QueueDeclare("", false, true, true, false, amqp.Table{
		"x-max-length": int64(maxBacklog), "x-overflow": "drop-head",
	})
	if err != nil {
		return nil, fmt.Errorf("declare queue of subscription: %w", lacksToConfigure(err))
	}
	if err := ch.QueueBind(q.Name, "", topic, false, nil); err != nil {
		return nil, fmt.Errorf("bind to topic: %w", lacksToBind(err))
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume: %w", lacksToConsume(err))
	}
	return deliveries, nil
}
