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

// publishIDHeader is the header that distinguishes repeated publishes of a message.
const publishIDHeader = "publish_id"

// Limits on one message. A message beyond them would break the connection, and with it
// every publish in flight, at each try.
const (
	maxQueueName     = 255
	maxWorkQueueName = 200 // leaves room for the suffixes of its other queues
	maxHeaderKey     = 128
	maxHeaders       = 32 << 10 // bytes of all keys and values
	maxBody          = 8 << 20
)

// errUnconfirmed is the cause of a publish that exceeded its time limit.
var errUnconfirmed = errors.New("timed out waiting for the confirm")

// Publish publishes the message to the queue; see broker.Broker. If there is no session
// yet, it waits for one, within the same time limit. While the broker blocks
// publishers, it fails immediately. A message that exceeds the limits of AMQP frames is
// rejected with an error that is not ErrUnavailable, because a retry cannot help.
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
		b.routine.checkNow()
	case ctx.Err() != nil:
		err = ctx.Err()
	case !errors.Is(err, broker.ErrUnavailable):
		err = fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return fmt.Errorf("publish to %s: %w", queue, err)
}

func checkMessage(queue string, m broker.Message) error {
	if queue == "" || len(queue) > maxQueueName {
		return fmt.Errorf("queue name has %d bytes, want 1 to %d", len(queue), maxQueueName)
	}
	if len(m.Body) > maxBody {
		return fmt.Errorf("body of %d bytes exceeds the limit of %d", len(m.Body), maxBody)
	}
	size := 0
	for k, v := range m.Headers {
		if len(k) > maxHeaderKey {
			return fmt.Errorf("header %.32q is longer than %d bytes", k, maxHeaderKey)
		}
		size += len(k) + len(v)
	}
	if size > maxHeaders {
		return fmt.Errorf("headers of %d bytes exceed the limit of %d", size, maxHeaders)
	}
	return nil
}

// publisher publishes the messages of one session.
type publisher struct {
	session  *session
	ch       *amqp.Channel
	timeout  time.Duration
	closes   chan *amqp.Error
	blocking chan amqp.Blocking
	returns  chan amqp.Return
	// slots has one token for each publish that may still be returned. Its capacity
	// equals that of returns, so that the library never finds returns full and drops
	// one.
	slots    chan struct{}
	prefix   string
	sequence atomic.Uint64
	settled  atomic.Uint64 // number of confirms received
	blocked  atomic.Pointer[string]

	// mu guards the fields below.
	mu        sync.Mutex
	returned  map[string]bool // publishes in flight by ID, and whether they were returned
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
		return nil, fmt.Errorf("enable confirms: %w", err)
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

// probe tests whether the user may publish at all, with a message to no queue. The
// broker would deny a publish by closing the channel, which reports no reason to the
// caller and breaks all publishes in flight. If the broker does not respond in time,
// the publishes will find out.
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

// noteBroadcasts notes refused broadcasts for Ready, and logs the first.
func (b *Broker) noteBroadcasts(ctx context.Context, refusal error) {
	const source = "broadcasts"
	if refusal != nil && b.publishing.noted(source) == nil {
		b.log.WarnContext(ctx, "broadcasts refused", "error", refusal)
	}
	b.publishing.note(source, refusal)
}

// servePublishing supervises a publishing session until it ends.
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
				b.log.InfoContext(ctx, "broker accepts messages again")
				p.blocked.Store(nil)
			}
		case <-sweep.C:
			p.sweep()
			b.noteBroadcasts(ctx, p.fanout.check())
		}
	}
}

// blockage returns an error with the reason if the broker has blocked publishers.
func (p *publisher) blockage() error {
	if reason := p.blocked.Load(); reason != nil {
		return fmt.Errorf("%w: broker has blocked publishers: %s", broker.ErrUnavailable, *reason)
	}
	return nil
}

// publish sends one message and waits for its confirm or return.
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
			return errors.New("broker rejected the message")
		case returned:
			return broker.ErrNoRoute
		}
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		p.abandoned[id] = confirm
		p.mu.Unlock()
		// A broker that has confirmed no publish for the whole time limit, and has not
		// reported that it is blocked, is taken for dead. If it confirmed publishes to
		// other queues, it is not.
		if errors.Is(context.Cause(ctx), errUnconfirmed) && p.settled.Load() == before && p.blocked.Load() == nil {
			p.session.kill()
		}
		return context.Cause(ctx)
	}
}

// send writes the message, within the time limit even if the network accepts no data.
// It builds new headers, so that those of a delivery are not passed on.
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

// settle ends a publish in flight and reports whether it was returned. The broker sends
// a return before the ack, so the return is in the channel when the library reports the
// ack.
func (p *publisher) settle(id string) (returned bool) {
	p.mu.Lock()
	p.drainReturns()
	returned = p.returned[id]
	delete(p.returned, id)
	p.mu.Unlock()
	<-p.slots
	return returned
}

// drainReturns marks returned publishes. The caller holds mu.
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

// sweep frees the slots of publishes whose callers have given up and whose outcome has
// arrived since.
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

// reserved reports whether a header belongs to the broker or to this package.
func reserved(header string) bool {
	return header == publishIDHeader || strings.HasPrefix(header, "x-")
}
