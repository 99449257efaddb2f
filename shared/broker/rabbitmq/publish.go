package rabbitmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// publishIDHeader names the header that tells one publish from its repetition.
const publishIDHeader = "publish_id"

// Bounds on one message. What goes over them would cost the connection, and with
// it every publish in flight, each time that it is tried.
const (
	maxQueueName     = 255
	maxWorkQueueName = 200 // leaves room for the suffixes of its other queues
	maxHeaderKey     = 128
	maxHeaders       = 32 << 10 // bytes of all keys and values
	maxBody          = 8 << 20
)

// errUnconfirmed is why the bound of a publish ended it.
var errUnconfirmed = errors.New("no confirm in time")

// Publish puts the message on the queue; see broker.Broker. Before there is a
// session it waits for one, within the same bound; while the broker blocks
// publishers it fails at once. A message that no AMQP frame can carry is refused
// with an error of its own, which trying again won't mend.
func (b *Broker) Publish(ctx context.Context, queue string, m broker.Message) error {
	if err := checkMessage(queue, m); err != nil {
		return fmt.Errorf("publish to %.64q: %w", queue, err)
	}
	b.routine.use()
	bounded, cancel := context.WithTimeoutCause(ctx, b.config.PublishTimeout, errUnconfirmed)
	defer cancel()
	s, err := b.publishing.await(bounded, true)
	if err == nil {
		err = s.publisher.publish(bounded, queue, m)
	} else if trouble := b.publishing.trouble(); trouble != nil && errors.Is(err, errUnconfirmed) {
		err = trouble
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, broker.ErrNoRoute):
		b.routine.hurry()
	case ctx.Err() != nil:
		err = ctx.Err()
	case !errors.Is(err, broker.ErrUnavailable):
		err = fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return fmt.Errorf("publish to %s: %w", queue, err)
}

func checkMessage(queue string, m broker.Message) error {
	if queue == "" || len(queue) > maxQueueName {
		return fmt.Errorf("the name of the queue has %d bytes, not 1 to %d", len(queue), maxQueueName)
	}
	if len(m.Body) > maxBody {
		return fmt.Errorf("a body of %d bytes is over the limit of %d", len(m.Body), maxBody)
	}
	size := 0
	for k, v := range m.Headers {
		if len(k) > maxHeaderKey {
			return fmt.Errorf("header %.32q is longer than %d bytes", k, maxHeaderKey)
		}
		size += len(k) + len(v)
	}
	if size > maxHeaders {
		return fmt.Errorf("headers of %d bytes are over the limit of %d", size, maxHeaders)
	}
	return nil
}

// publisher is the publishing side of one session.
type publisher struct {
	session  *session
	ch       *amqp.Channel
	timeout  time.Duration
	closes   chan *amqp.Error
	blocking chan amqp.Blocking
	returns  chan amqp.Return
	// slots holds one token for each publish that may still be returned. It is as
	// big as returns, so that the library never finds returns full and drops one.
	slots    chan struct{}
	prefix   string
	sequence atomic.Uint64
	settled  atomic.Uint64 // confirms seen
	blocked  atomic.Pointer[string]

	// mu guards the fields below.
	mu        sync.Mutex
	returned  map[string]bool // publishes in flight by id, and whether they came back
	abandoned map[string]*amqp.DeferredConfirmation

	fanout fanout
}

func newPublisher(s *session, config Config) (*publisher, error) {
	ch, err := s.channel()
	if err != nil {
		return nil, err
	}
	defer s.within(rpcTimeout)()
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("switch on confirms: %w", err)
	}
	return &publisher{
		session: s, ch: ch, timeout: config.PublishTimeout,
		closes:   ch.NotifyClose(make(chan *amqp.Error, 1)),
		blocking: s.conn.NotifyBlocked(make(chan amqp.Blocking, 8)),
		returns:  ch.NotifyReturn(make(chan amqp.Return, config.MaxInFlight)),
		slots:    make(chan struct{}, config.MaxInFlight),
		prefix:   rand.Text() + "-",
		returned: map[string]bool{}, abandoned: map[string]*amqp.DeferredConfirmation{},
		fanout: fanout{session: s, declare: config.Declare},
	}, nil
}

// probe asks whether the user may publish at all, by a message to no queue: the broker
// says no by ending the channel, which tells the caller of a publish nothing, and
// costs all that are in flight. An answer that does not come in time is left to the
// publishes.
func (p *publisher) probe() error {
	defer p.session.within(rpcTimeout)()
	confirm, err := p.ch.PublishWithDeferredConfirm("", probeType, false, false, amqp.Publishing{Type: probeType, DeliveryMode: amqp.Transient})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	late := time.NewTimer(p.timeout)
	defer late.Stop()
	select {
	case <-late.C:
	case state := <-p.blocking:
		if state.Active {
			p.blocked.Store(&state.Reason)
		}
	case <-confirm.Done():
		if confirm.Acked() {
			return nil
		}
		select {
		case cause := <-p.closes:
			if cause != nil {
				return lacksToPublish(cause)
			}
		case <-late.C:
		}
		return errLost
	}
	return nil
}

// noteBroadcasts tells of refused broadcasts, and logs the first.
func (b *Broker) noteBroadcasts(ctx context.Context, refusal error) {
	const whose = "broadcasts"
	if refusal != nil && b.publishing.noted(whose) == nil {
		b.log.WarnContext(ctx, "broadcasts refused", "error", refusal)
	}
	b.publishing.note(whose, refusal)
}

// servePublishing watches over a publishing session until it ends.
func (b *Broker) servePublishing(ctx context.Context, s *session) error {
	p, blocking := s.publisher, s.publisher.blocking
	sweep := time.NewTicker(time.Second)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case cause, ok := <-p.closes:
			if !ok || ctx.Err() != nil {
				return nil
			}
			if _, ok := refused(cause); ok {
				return lacksToPublish(cause)
			}
			return fmt.Errorf("publishing channel closed: %w", cause)
		case state, ok := <-blocking:
			if !ok {
				blocking = nil // the session is ending
				continue
			}
			if state.Active {
				b.log.WarnContext(ctx, "broker blocks publishers", "reason", state.Reason)
				p.blocked.Store(&state.Reason)
			} else {
				b.log.InfoContext(ctx, "broker takes messages again")
				p.blocked.Store(nil)
			}
		case <-sweep.C:
			p.sweep()
			b.noteBroadcasts(ctx, p.fanout.look())
		}
	}
}

// blockage says that the broker has blocked publishers, and why.
func (p *publisher) blockage() error {
	if reason := p.blocked.Load(); reason != nil {
		return fmt.Errorf("%w: the broker has blocked publishers: %s", broker.ErrUnavailable, *reason)
	}
	return nil
}

// publish sends one message and waits for what becomes of it.
func (p *publisher) publish(ctx context.Context, queue string, m broker.Message) error {
	if err := p.blockage(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.session.ended:
		return errLost
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	id := p.prefix + strconv.FormatUint(p.sequence.Add(1), 36)
	before := p.settled.Load()
	p.mu.Lock()
	p.returned[id] = false
	p.mu.Unlock()
	confirm, err := p.send(queue, id, m)
	if err != nil {
		p.settle(id)
		return err
	}
	select {
	case <-confirm.Done():
		p.settled.Add(1)
		returned := p.settle(id)
		switch {
		case !confirm.Acked() && p.session.conn.IsClosed():
			return errors.New("connection lost before the confirm")
		case !confirm.Acked():
			return errors.New("the broker refused the message")
		case returned:
			return broker.ErrNoRoute
		}
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		p.abandoned[id] = confirm
		p.mu.Unlock()
		// A broker that confirmed nothing at all for so long, and did not say that it
		// is blocked, is not there any more. One that serves other queues is.
		if errors.Is(context.Cause(ctx), errUnconfirmed) && p.settled.Load() == before && p.blocked.Load() == nil {
			p.session.kill()
		}
		return context.Cause(ctx)
	}
}

// send writes the message, bounded even where the network takes nothing. The
// headers are built anew; what a delivery brought along stays with it.
func (p *publisher) send(queue, id string, m broker.Message) (*amqp.DeferredConfirmation, error) {
	headers := make(amqp.Table, len(m.Headers)+1)
	for k, v := range m.Headers {
		headers[k] = v
	}
	headers[publishIDHeader] = id
	defer p.session.within(p.timeout)()
	return p.ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
		Headers: headers, ContentType: amqp.MimeApplicationJSON, DeliveryMode: amqp.Persistent,
		MessageId: id, Body: m.Body,
	})
}

// settle takes a publish out of flight and says whether it came back. A return
// is on the wire before its ack, so it is in the channel by the time that the
// library has told of the ack.
func (p *publisher) settle(id string) (returned bool) {
	p.mu.Lock()
	p.drainReturns()
	returned = p.returned[id]
	delete(p.returned, id)
	p.mu.Unlock()
	<-p.slots
	return returned
}

// drainReturns needs mu.
func (p *publisher) drainReturns() {
	for {
		select {
		case r, ok := <-p.returns:
			if !ok {
				return
			}
			if _, inFlight := p.returned[r.MessageId]; inFlight {
				p.returned[r.MessageId] = true
			}
		default:
			return
		}
	}
}

// sweep frees the slots of publishes whose callers have gone and whose outcome
// has come since.
func (p *publisher) sweep() {
	var over []string
	p.mu.Lock()
	for id, confirm := range p.abandoned {
		select {
		case <-confirm.Done():
			over = append(over, id)
			delete(p.abandoned, id)
		default:
		}
	}
	p.mu.Unlock()
	for _, id := range over {
		p.settle(id)
	}
}

// reserved says whether a header is the broker's or ours, and no application's.
func reserved(header string) bool {
	return header == publishIDHeader || strings.HasPrefix(header, "x-")
}
