// Package membroker is the broker inside one process: the standalone's own, and
// the fake of every test. It keeps the whole contract of the package broker,
// with the same queues, delays, limits and dead letters as a real one.
//
// What it holds ends with the process, so its first session, which is its only
// one, is always fresh. All that it keeps on disk, when it is given a folder, is
// which messages were in hand: a message that kills the process, is sent again at
// the next start and kills it again must be known for what it is, as a real broker
// would. It refuses messages when a queue is full, and never blocks a publisher. Its
// queues are those of gammazero/deque, which shrink when they have been emptied.
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

// Bounds. A queue may go over its bound by what leaves other queues for it, which
// are bounded themselves.
const (
	// MaxMessages is how many messages one queue holds unless a Broker is made
	// with another bound.
	MaxMessages = 200_000
	// maxBacklog is how many broadcasts wait for one subscriber; past it the
	// oldest go.
	maxBacklog = 1024
)

var errClosed = fmt.Errorf("%w: closed by this process", broker.ErrUnavailable)

// Broker holds queues and topics in memory.
type Broker struct {
	max     int
	memory  *memory
	end     context.CancelFunc // ends the hook and closes closed
	closed  <-chan struct{}
	hooking context.Context // what the hook runs under, until Close
	running sync.WaitGroup

	// mu guards the fields below and every queue. Nothing waits while it is held.
	mu          sync.Mutex
	queues      map[string]*queue
	subscribers map[string]map[*subscriber]struct{}
	hooked      chan struct{} // closed when the hook, if there is one, has succeeded
	hookTrouble error         // why it has not
}

var _ broker.Broker = (*Broker)(nil)

// New makes a broker with broker.Topology of the work queues. The caller ends it
// with Close.
func New(workQueues ...string) *Broker { return NewBounded(MaxMessages, workQueues...) }

// Open is New with a folder in which it remembers, over the death of the process,
// which messages were in hand then. Only one Broker may have the folder.
func Open(dir string, workQueues ...string) (*Broker, error) {
	m, err := openMemory(dir)
	if err != nil {
		return nil, err
	}
	b := New(workQueues...)
	b.memory = m
	return b, nil
}

// NewBounded is New with another bound on the messages of one queue.
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

// Close ends everything that the Broker started, and waits for it. Calls that
// still run return an error once their handlers have ended.
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

// Publish puts a copy of the message on the queue; see broker.Broker. A full
// queue is an ErrUnavailable.
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

// OnSession sets the hook; see broker.Broker. It runs at once and only once,
// with fresh true: there is one session, and nothing was before it.
func (b *Broker) OnSession(_ string, hook func(ctx context.Context, fresh bool) error) {
	done := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return
	}
	b.hooked, b.hookTrouble = done, errors.New("session hook has not run yet")
	b.running.Go(func() {
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := hook(b.hooking, true)
			b.mu.Lock()
			b.hookTrouble = nil
			if err != nil {
				b.hookTrouble = fmt.Errorf("run session hook: %w", err)
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

// begun waits until the hook has run.
func (b *Broker) begun(ctx context.Context) error {
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

// Ready is nil unless the hook has not succeeded or the Broker is closed.
func (b *Broker) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return errClosed
	}
	return b.hookTrouble
}

// Depth tells how many messages wait; see broker.Broker.
func (b *Broker) Depth(ctx context.Context, queues ...string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("ask for the depth of queues: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return 0, fmt.Errorf("ask for the depth of queues: %w", errClosed)
	}
	depth := 0
	for _, name := range queues {
		q := b.queues[name]
		if q == nil {
			return 0, fmt.Errorf("ask for the depth of %s: %w", name, broker.ErrNoRoute)
		}
		depth += q.waiting.Len()
	}
	return depth, nil
}

// Len tells how many messages the queue holds, delivered ones included.
func (b *Broker) Len(queue string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[queue]; q != nil {
		return q.size()
	}
	return 0
}
