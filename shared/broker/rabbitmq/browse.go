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
	// sessionWait bounds how long Browse waits for the broker.
	sessionWait = 15 * time.Second
	// lookInterval is how long Browse waits for a message before it asks whether
	// there is one.
	lookInterval = 100 * time.Millisecond
	// returnWait bounds how long Browse waits for what it gives back.
	returnWait = 5 * time.Second
)

var errNoSession = errors.New("no connection in time")

// Browse looks through a queue; see broker.Browser.
//
// A quorum queue puts what comes back behind what came back before, and all of it
// before the rest. So the order stays only if the messages are taken by one
// consumer, all of them, and go back together: at the end of its channel the queue
// sorts them as they were taken. Getting them one by one, or a nack of many, would
// shuffle them. That the broker counts each return, up to 4.2, does no harm, for
// the queues that are looked through have a delivery limit of two billion; without
// one RabbitMQ 4 would drop a letter that was looked at 20 times.
func (b *Broker) Browse(ctx context.Context, queue string, handle func(context.Context, broker.Letter) error) error {
	b.routine.use()
	bounded, cancel := context.WithTimeoutCause(ctx, sessionWait, errNoSession)
	defer cancel()
	s, err := b.consuming.await(bounded, true)
	if trouble := b.consuming.trouble(); trouble != nil && errors.Is(err, errNoSession) {
		err = trouble
	}
	if err == nil {
		v := &browse{survey: survey{session: s}, queue: queue, handle: handle}
		err = v.run(ctx)
		v.close()
		if v.handled != nil {
			return v.handled
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

// browse is one call of Browse.
type browse struct {
	survey
	queue   string
	handle  func(context.Context, broker.Letter) error
	seen    int
	acked   int
	handled error // of handle
}

// state tells how many messages wait in the queue, and how many consumers it has.
func (v *browse) state() (waiting, consumers int, err error) {
	err = v.ask(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(v.queue, true, false, false, false, nil)
		waiting, consumers = q.Messages, q.Consumers
		return err
	})
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Code == amqp.NotFound && !away(refusal.Reason) {
		err = broker.ErrNoRoute
	}
	return waiting, consumers, err
}

// run takes all that waits and gives back what was not acked.
func (v *browse) run(ctx context.Context) error {
	waiting, consumers, err := v.state()
	switch {
	case err != nil:
		return err
	case consumers > 0:
		return broker.ErrInUse
	case waiting == 0:
		return nil
	}
	waiting = min(waiting, broker.MaxBrowse)
	ch, err := v.session.channel()
	if err != nil {
		return err
	}
	acks := &acknowledger{ch: ch}
	err = v.read(ctx, ch, acks, waiting)
	acks.end()
	v.session.closeChannel(ch)
	if err == nil {
		waiting = v.seen // somebody else may have been faster
	}
	v.awaitReturn(waiting - v.acked) //nolint:contextcheck // What was taken goes back when ctx has ended too.
	return err
}

// read hands out as many messages as waited at the beginning, or fewer when
// somebody else has been faster.
func (v *browse) read(ctx context.Context, ch *amqp.Channel, acks *acknowledger, waiting int) error {
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	cancels := ch.NotifyCancel(make(chan string, 1))
	deliveries, err := (&consumer{queue: v.queue, prefetch: waiting}).open(v.session, ch)
	if err != nil {
		return err
	}
	look := time.NewTimer(lookInterval)
	defer look.Stop()
	for quiet := 0; waiting > 0 && quiet < 2; {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return reasonOf(closes, cancels)
			}
			v.seen++
			if v.handled = v.handle(ctx, v.letter(acks, d)); v.handled != nil {
				return v.handled
			}
			waiting, quiet = waiting-1, 0
		case <-ctx.Done():
		case <-v.session.ended:
			return errLost
		case <-look.C:
			left, _, err := v.state()
			if err != nil {
				return err
			}
			// One that is on its way to us would be here at the second look.
			if quiet++; left > 0 {
				quiet = 0
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		look.Reset(lookInterval)
	}
	return nil
}

// awaitReturn waits until the queue has its messages back, for the broker returns
// them only after the channel has ended, and whoever looks next is to see them.
func (v *browse) awaitReturn(messages int) {
	for end := time.Now().Add(returnWait); messages > 0 && time.Now().Before(end); {
		waiting, _, err := v.state()
		if err != nil || waiting >= messages {
			return
		}
		time.Sleep(lookInterval / 10)
	}
}

// letter is a delivery with what the broker tells of its deaths.
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
