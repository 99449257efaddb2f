package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

var _ broker.Browser = (*Broker)(nil)

const (
	// sessionWait limits how long Browse waits for the broker.
	sessionWait = 15 * time.Second
	// checkBrowse is how long Browse waits for a message before it checks whether there
	// is one.
	checkBrowse = 100 * time.Millisecond
	// staleTime is how long the broker may still count a reader that has ended.
	staleTime = time.Second
	// returnWait limits how long Browse waits until its unacked messages are back on
	// the queue.
	returnWait = 5 * time.Second
)

var errNoSession = errors.New("timed out waiting for a connection")

// Browse reads a queue that has no consumer; see broker.Browser.
//
// A quorum queue puts returned messages in front of the waiting ones, but behind
// messages that were returned earlier. So the order is kept only if one consumer takes
// all messages, or always the same number, and they return together: when its channel
// ends, the queue sorts them in the order of delivery. Getting them one by one, or a nack of many, would shuffle
// them. The broker counts each return by the end of a channel as a delivery (since 4.3,
// no longer a return by nack). That is harmless, because the browsed queues have a
// delivery limit of two billion; without a limit, RabbitMQ would drop a message after
// 20 returns.
func (b *Broker) Browse(ctx context.Context, queue string, most int, handle func(context.Context, broker.Letter) error) error {
	b.routine.use()
	bounded, cancel := context.WithTimeoutCause(ctx, sessionWait, errNoSession)
	defer cancel()
	s, err := b.consuming.await(bounded, true)
	if trouble := b.consuming.trouble(); trouble != nil && errors.Is(err, errNoSession) {
		err = trouble
	}
	if err == nil {
		v := &browse{survey: survey{session: s}, queue: queue, most: most, handle: handle}
		err = v.run(ctx)
		v.close()
		if v.handleErr != nil {
			return v.handleErr
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case !errors.Is(err, broker.ErrInUse) && !errors.Is(err, broker.ErrUnavailable):
		err = fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return fmt.Errorf("browse %s: %w", queue, err)
}

// browse is a call of Browse.
type browse struct {
	survey
	queue     string
	most      int // maximum number of messages to read
	handle    func(context.Context, broker.Letter) error
	seen      int
	acked     int
	handleErr error // error returned by handle
}

// state returns the numbers of waiting messages and of consumers of the queue.
func (v *browse) state() (waiting, consumers int, err error) {
	err = v.request(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(v.queue, true, false, false, false, nil)
		waiting, consumers = q.Messages, q.Consumers
		return err
	})
	if isMissing(err) {
		err = broker.ErrNoRoute
	}
	return waiting, consumers, err
}

// awaitAlone returns the number of waiting messages when the queue has no more consumers than
// own, and ErrInUse if it still has others after staleTime.
func (v *browse) awaitAlone(ctx context.Context, own int) (waiting int, err error) {
	over := time.NewTimer(staleTime)
	defer over.Stop()
	poll := time.NewTicker(staleTime / 10)
	defer poll.Stop()
	for {
		waiting, consumers, err := v.state()
		if err != nil || consumers <= own {
			return waiting, err
		}
		select {
		case <-poll.C:
		case <-over.C:
			return 0, broker.ErrInUse
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// run reads all waiting messages and returns the unacked ones to the queue.
func (v *browse) run(ctx context.Context) error {
	waiting, err := v.awaitAlone(ctx, 0)
	if err != nil || waiting == 0 {
		return err
	}
	rest := waiting
	waiting = min(waiting, v.most, broker.MaxBrowse)
	rest -= waiting
	ch, err := v.session.channel()
	if err != nil {
		return err
	}
	acks := &acknowledger{ch: ch}
	err = v.read(ctx, ch, acks, waiting)
	acks.end()
	v.session.closeChannel(ch)
	if errors.Is(err, broker.ErrInUse) {
		return err
	}
	if err == nil {
		waiting = v.seen // another consumer may have taken some
	}
	v.awaitReturn(rest + waiting - v.acked) //nolint:contextcheck // Messages return to the queue even after the end of ctx.
	return err
}

// read handles the given number of messages, or fewer if another consumer has taken
// some.
func (v *browse) read(ctx context.Context, ch *amqp.Channel, acks *acknowledger, waiting int) error {
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	cancels := ch.NotifyCancel(make(chan string, 1))
	deliveries, err := (&consumer{queue: v.queue, prefetch: waiting}).open(v.session, ch)
	if err != nil {
		return err
	}
	// Another reader may have started in the same moment. Each of them then has a part of the
	// messages, and quorum queues ignore the flag for an exclusive consumer.
	if _, err := v.awaitAlone(ctx, 1); err != nil {
		return err
	}
	check := time.NewTimer(checkBrowse)
	defer check.Stop()
	for empty := 0; waiting > 0 && empty < 2; {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return reasonOf(closes, cancels)
			}
			v.seen++
			if v.handleErr = v.handle(ctx, v.letter(acks, d)); v.handleErr != nil {
				return v.handleErr
			}
			waiting, empty = waiting-1, 0
		case <-ctx.Done():
		case <-v.session.ended:
			return errLost
		case <-check.C:
			left, _, err := v.state()
			if err != nil {
				return err
			}
			// A message in transit to this consumer arrives before the second check.
			if empty++; left > 0 {
				empty = 0
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		check.Reset(checkBrowse)
	}
	return nil
}

// awaitReturn waits until the returned messages are on the queue again. The broker
// returns them only after the channel has closed, and the next reader must see them.
func (v *browse) awaitReturn(messages int) {
	for end := time.Now().Add(returnWait); messages > 0 && time.Now().Before(end); {
		waiting, _, err := v.state()
		if err != nil || waiting >= messages {
			return
		}
		time.Sleep(checkBrowse / 10)
	}
}

// letter converts a delivery, with the deaths that the broker reports.
func (v *browse) letter(acks *acknowledger, d amqp.Delivery) broker.Letter {
	l := broker.Letter{Delivery: deliveryOf(acks, d)}
	ack := l.Ack
	l.Ack = func() error {
		err := ack()
		if err == nil {
			v.acked++
		}
		return err
	}
	deaths, _ := d.Headers["x-death"].([]any)
	for _, entry := range deaths {
		table, _ := entry.(amqp.Table)
		var death broker.Death
		death.Queue, _ = table["queue"].(string)
		death.Reason, _ = table["reason"].(string)
		death.Count, _ = table["count"].(int64)
		death.At, _ = table["time"].(time.Time)
		l.Deaths = append(l.Deaths, death)
	}
	return l
}
