// Package membroker is a broker inside one process, for the standalone service and for
// tests. It keeps the whole contract of the package broker, with the same queues,
// delays, limits and dead letters as a real broker.
//
// Its messages are lost when the process ends, so its only session is always fresh.
// With a folder, it records on disk only which messages are in flight. As with a real
// broker, a message that kills the process is recognized when it is sent again after
// the next start. The broker rejects messages when a queue is full and never blocks a
// publisher. Its queues are those of gammazero/deque, which shrink when they are
// emptied.
package membroker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// Limits. A queue may exceed its limit by messages that move to it from other queues,
// which are limited themselves.
const (
	// MaxMessages is the default limit on the messages of one queue.
	MaxMessages = 200_000
	// maxBacklog limits the broadcasts that wait for one subscriber. Beyond it, the
	// oldest are dropped.
	maxBacklog = 1024
)

var errClosed = fmt.Errorf("%w: closed by this process", broker.ErrUnavailable)

// Broker keeps queues and topics in memory.
type Broker struct {
	max      int
	deathLog *deathLog
	end      context.CancelFunc // cancels hooking and closes closed
	closed   <-chan struct{}
	hooking  context.Context // context of the hook, until Close
	running  sync.WaitGroup

	// mu guards the fields below and every queue. No code waits while holding it.
	mu          sync.Mutex
	queues      map[string]*queue
	subscribers map[string]map[*subscriber]struct{}
	hooked      chan struct{} // closed when the hook, if set, has succeeded
	hookErr     error         // why the hook has not succeeded
}

var _ broker.Broker = (*Broker)(nil)

// New returns a broker with broker.Topology of the work queues. The caller must call
// Close.
func New(workQueues ...string) *Broker { return NewBounded(MaxMessages, workQueues...) }

// Open is like New, with a folder that records the messages in flight across the death
// of the process. Only one Broker may use the folder.
func Open(dir string, workQueues ...string) (*Broker, error) {
	log, err := openDeathLog(dir)
	if err != nil {
		return nil, err
	}
	b := New(workQueues...)
	b.deathLog = log
	return b, nil
}

// NewBounded is like New, with another limit on the messages of one queue.
func NewBounded(maxMessages int, workQueues ...string) *Broker {
	ctx, end := context.WithCancel(context.Background())
	b := &Broker{
		max: maxMessages, end: end, closed: ctx.Done(), hooking: ctx,
		queues: map[string]*queue{}, subscribers: map[string]map[*subscriber]struct{}{}, hooked: make(chan struct{}),
	}
	close(b.hooked)
	for _, spec := range broker.Topology(workQueues...) {
		b.queues[spec.Name] = &queue{broker: b, spec: spec}
	}
	return b
}

// Close ends all that the Broker started, and waits for it. Running calls return an
// error once their handlers have returned.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.end()
	b.mu.Unlock()
	b.running.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queues {
		if q.expiry != nil {
			q.expiry.Stop()
		}
	}
	return nil
}

func (b *Broker) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// Publish puts a copy of the message on the queue; see broker.Broker. For a full queue
// it returns an ErrUnavailable.
func (b *Broker) Publish(ctx context.Context, queue string, m broker.Message) error {
	if err := b.publish(ctx, queue, m); err != nil {
		return fmt.Errorf("publish to %s: %w", queue, err)
	}
	return nil
}

func (b *Broker) publish(ctx context.Context, name string, m broker.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stored := message{body: bytes.Clone(m.Body), headers: maps.Clone(m.Headers)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return errClosed
	}
	q := b.queues[name]
	if q == nil {
		return broker.ErrNoRoute
	}
	if q.spec.MaxLength == 0 && q.size() >= b.max {
		return fmt.Errorf("%w: queue is full with %d messages", broker.ErrUnavailable, b.max)
	}
	q.add(stored, time.Now())
	return nil
}

// OnSession sets the hook; see broker.Broker. The hook runs immediately and until it
// succeeds, with fresh true, because there is only one session and it starts empty. It
// has one owner, because no other process can reach it.
func (b *Broker) OnSession(_, _ string, hook func(ctx context.Context, fresh bool) error) {
	done := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return
	}
	b.hooked, b.hookErr = done, errors.New("session hook has not run yet")
	b.running.Go(func() {
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := hook(b.hooking, true)
			b.mu.Lock()
			b.hookErr = nil
			if err != nil {
				b.hookErr = fmt.Errorf("run session hook: %w", err)
			}
			b.mu.Unlock()
			if err == nil {
				close(done)
				return
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-b.closed:
				timer.Stop()
				return
			}
		}
	})
}

// awaitHook waits until the hook has succeeded.
func (b *Broker) awaitHook(ctx context.Context) error {
	b.mu.Lock()
	hooked := b.hooked
	b.mu.Unlock()
	select {
	case <-hooked:
	case <-ctx.Done():
	case <-b.closed:
		return errClosed
	}
	return nil
}

// Ready returns nil unless the hook has not succeeded or the Broker is closed.
func (b *Broker) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return errClosed
	}
	return b.hookErr
}

// Depth returns the number of waiting messages; see broker.Broker.
func (b *Broker) Depth(ctx context.Context, queues ...string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("read depth of queues: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return 0, fmt.Errorf("read depth of queues: %w", errClosed)
	}
	depth := 0
	for _, name := range queues {
		q := b.queues[name]
		if q == nil {
			return 0, fmt.Errorf("read depth of %s: %w", name, broker.ErrNoRoute)
		}
		depth += q.waiting.Len()
	}
	return depth, nil
}

// Len returns the number of messages on the queue, including deliveries.
func (b *Broker) Len(queue string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[queue]; q != nil {
		return q.size()
	}
	return 0
}
