package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var errLost = errors.New("connection lost")

// stepError is a temporary problem during startup that needs no warning.
type stepError string

func (e stepError) Error() string { return string(e) }

// session is one connection, from its handshake to its end. It never reconnects.
type session struct {
	url       string
	conn      *amqp.Connection
	socket    *socket
	ended     <-chan struct{}
	publisher *publisher // set only on the publishing link
}

// kill closes the connection immediately; all waiting calls fail.
func (s *session) kill() { _ = s.socket.Close() }

// within kills the session unless the returned function is called within d. The
// library's requests have no deadlines of their own.
func (s *session) within(d time.Duration) (stop func() bool) {
	return time.AfterFunc(d, s.kill).Stop
}

// channel opens a channel.
func (s *session) channel() (*amqp.Channel, error) {
	defer s.within(rpcTimeout)()
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	return ch, nil
}

// closeChannel closes a channel, or kills the session if the broker does not respond.
func (s *session) closeChannel(ch *amqp.Channel) {
	defer s.within(rpcTimeout)()
	// An error means that the channel is already closed.
	_ = ch.Close()
}

// close closes the connection properly if that is quick, and otherwise kills the
// session. Under an alarm, the broker reads nothing from a publishing connection, not
// even its close.
func (s *session) close() {
	defer s.within(closeTimeout)()
	_ = s.conn.Close()
	s.kill()
}

// link is a supervised connection: it provides the current session, or the reason why
// there is none.
type link struct {
	purpose string
	config  Config
	nodes   *nodes
	log     *slog.Logger
	closed  <-chan struct{} // closed when the Broker closes
	prepare func(*session) error
	// serve works for the session until ctx ends, which ends with the session. The
	// publishing link is open from the start, the consuming link when its serve opens
	// it.
	serve func(ctx context.Context, s *session) error

	// mu guards the fields below.
	mu      sync.Mutex
	session *session // nil while there is no connection
	open    bool     // whether the session may be used for work
	problem error    // why the session is not open
	barred  error    // why no session may be opened for work, or nil
	changed chan struct{}
	notes   map[string]error // errors of single consumers and queues, by source
}

func newLink(purpose string, config Config, nodes *nodes, log *slog.Logger, closed <-chan struct{}) *link {
	return &link{
		purpose: purpose, config: config, nodes: nodes, log: log.With("connection", purpose), closed: closed,
		problem: stepError("not connected yet"), changed: make(chan struct{}), notes: map[string]error{},
	}
}

// run keeps the link connected until ctx ends, each time to another node.
func (l *link) run(ctx context.Context) {
	pauses := newBackOff()
	for {
		start := time.Now()
		url := l.nodes.current()
		connected, err := l.once(ctx, url)
		if ctx.Err() != nil {
			l.set(nil, false, errClosed)
			return
		}
		l.set(nil, false, err)
		l.nodes.leave(url)
		if connected && time.Since(start) > steady {
			pauses.Reset()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			l.set(nil, false, errClosed)
			return
		}
	}
}

// once runs one session and returns why it ended.
func (l *link) once(ctx context.Context, url string) (connected bool, err error) {
	s, ends, err := l.connect(ctx, url)
	if err != nil {
		return false, err
	}
	sessionCtx, end := context.WithCancelCause(ctx)
	s.ended = sessionCtx.Done()
	// Close does not wait for requests that the broker does not respond to.
	defer context.AfterFunc(ctx, func() { s.within(closeTimeout) })()
	var watching sync.WaitGroup
	watching.Go(func() {
		// The library closes this channel for every connection that ends. If we ended
		// the connection ourselves, it sends no error first.
		if cause := <-ends; cause != nil {
			end(fmt.Errorf("%w: %w", errLost, cause))
			return
		}
		end(errLost)
	})
	if l.prepare != nil {
		err = l.prepare(s)
	}
	if err == nil {
		l.begin(s)
		err = l.serve(sessionCtx, s)
	}
	if ctx.Err() != nil {
		err = errClosed
	}
	l.set(nil, false, cmp.Or(err, context.Cause(sessionCtx), errLost))
	s.close()
	watching.Wait()
	return true, cmp.Or(err, context.Cause(sessionCtx))
}

// connect dials and completes the handshake, limited by dialTimeout.
func (l *link) connect(ctx context.Context, url string) (*session, chan *amqp.Error, error) {
	s := &session{url: url}
	release := func() bool { return true }
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(strings.TrimSpace(l.config.Name + " " + l.purpose))
	secured, err := l.config.tls(url)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	conn, err := amqp.DialConfig(url, amqp.Config{
		Heartbeat:  heartbeat,
		Properties: properties,
		Dial: func(network, addr string) (net.Conn, error) {
			var err error
			if s.socket, err = dialSocket(ctx, network, addr); err != nil {
				return nil, err
			}
			release = context.AfterFunc(ctx, s.kill)
			return s.socket, nil
		},
		TLSClientConfig: secured,
	})
	release()
	if err != nil {
		if s.socket != nil {
			s.kill()
		}
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	s.conn = conn
	return s, conn.NotifyClose(make(chan *amqp.Error, 1)), nil
}

// move ends the current session if it is not with the node in use.
func (l *link) move() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.url != l.nodes.current() {
		l.session.kill()
	}
}

// set changes the state of the link.
func (l *link) set(s *session, open bool, problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setLocked(s, open, problem)
}

// begin makes s the current session. The publishing link opens it at once, unless it is barred.
func (l *link) begin(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setLocked(s, s.publisher != nil && l.barred == nil, cmp.Or[error](l.barred, stepError("queues have not been checked yet")))
}

// bar closes the current and all later sessions of the publishing link for work, until it
// is called with nil.
func (l *link) bar(problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.barred == nil && problem == nil {
		return
	}
	if l.barred = problem; l.session != nil {
		l.setLocked(l.session, problem == nil, problem)
	}
}

// turn opens a session for work if problem is nil, and otherwise closes it for work. It
// ignores a session that the link no longer has.
func (l *link) turn(s *session, problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == s && s != nil {
		l.setLocked(s, problem == nil, problem)
	}
}

// shut closes the current session, if any, for work.
func (l *link) shut(problem error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.setLocked(l.session, false, problem)
	}
}

// setLocked is like set; the caller holds mu. An open link has no problem. A problem is
// logged once, not at every try.
func (l *link) setLocked(s *session, open bool, problem error) {
	if open {
		problem = nil
	}
	_, step := problem.(stepError) //nolint:errorlint // a problem that wraps a step is more than one
	if problem != nil && !step && !errors.Is(problem, errClosed) && (l.problem == nil || problem.Error() != l.problem.Error()) {
		l.log.Warn("broker not ready", "error", problem)
	}
	if open && !l.open {
		l.log.Info("broker ready")
	}
	l.session, l.open, l.problem = s, open, problem
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits for a session, and with open for a session that is open for work. It
// fails with the cause of ctx when ctx ends, and when the Broker is closed.
func (l *link) await(ctx context.Context, open bool) (*session, error) {
	for {
		l.mu.Lock()
		s, isOpen, changed := l.session, l.open, l.changed
		l.mu.Unlock()
		if s != nil && (isOpen || !open) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.closed:
			return nil, errClosed
		}
	}
}

// note records the error of one consumer or queue for Ready. nil clears it.
func (l *link) note(source string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.notes, source)
		return
	}
	l.notes[source] = err
}

// noted returns the current error of the source.
func (l *link) noted(source string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes[source]
}

// trouble returns why the link cannot work, or nil.
func (l *link) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return fmt.Errorf("%s connection: %w", l.purpose, l.problem)
	}
	if l.session.publisher != nil {
		if err := l.session.publisher.blockage(); err != nil {
			return fmt.Errorf("%s connection: %w", l.purpose, err)
		}
	}
	// A queue that needs an operator sorts last and is reported first.
	for _, source := range slices.Backward(slices.Sorted(maps.Keys(l.notes))) {
		return fmt.Errorf("%s: %w", source, l.notes[source])
	}
	return nil
}
