package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// follower is the connection of a client that follows a job: a socket or a stream. Its send,
// tick and end run one at a time.
type follower interface {
	// listen reads what the client sends until the client disconnects, breaks a rule, or end
	// closes the connection. It returns the reason.
	listen() error
	// send sends an event. With whole, the client has then received all events up to its revision.
	send(e progress.Event, whole bool) error
	// tick does what is due, and returns the time until something is due again.
	tick() (time.Duration, error)
	// end reports the reason to the client, if it has a close frame, and closes the connection.
	end(reason error)
}

// following connects a follower to the sources of what happens: the job, the key, the server and
// a timer. No goroutine waits for them, because there may be 10,000 clients: a source starts a
// goroutine when something happens, which ends when it is handled. It is not started twice for
// the same client. So the goroutine that reads is the only one of a client that is idle.
type following struct {
	follower follower
	watcher  *progress.Watcher
	by       *apikey.Key
	closing  context.Context           // of the server
	panicked func(p any, stack []byte) // logs a panic

	awake sync.WaitGroup // the registrations with the sources, and the goroutines that they started
	mu    sync.Mutex     // guards the fields below
	busy  bool           // a goroutine handles what has happened
	again bool           // something has happened since
	over  bool           // no more registrations
	ended error          // reason, of which end has informed the client

	ready, removed, closed func() bool // remove a registration; false if the source has started its goroutine
	timer                  *time.Timer
}

// errPanic ends a follower after a panic, which is in the log.
var errPanic = errors.New("panic while a client was served")

// follow serves a client until listen returns, and returns the reason why it has ended.
func (f *following) follow() error {
	f.register(func() { f.removed = f.by.AfterRemoved(f.wake) })
	f.register(func() { f.closed = context.AfterFunc(f.closing, f.wake) })
	f.awake.Add(1)
	go f.wake() // sends the state of the job; on the stack of this goroutine, the frames would leave it larger than reading needs
	err := f.guard(f.follower.listen)

	f.mu.Lock()
	f.over = true
	for _, stop := range []func() bool{f.removed, f.closed, f.ready} {
		if stop != nil && stop() {
			f.awake.Done()
		}
	}
	if f.timer != nil && f.timer.Stop() {
		f.awake.Done()
	}
	f.mu.Unlock()
	f.awake.Wait()
	if f.ended == nil {
		f.ended = err
		f.end(err)
	}
	return f.ended
}

// guard calls do. A panic ends this client but not the process.
func (f *following) guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f.panicked(p, debug.Stack())
			err = errPanic
		}
	}()
	return do()
}

func (f *following) end(reason error) {
	_ = f.guard(func() error { f.follower.end(reason); return nil }) // a panic is in the log
}

// wake handles what has happened.
func (f *following) wake() {
	defer f.awake.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = true
	if f.busy {
		return
	}
	f.busy = true
	for f.again && f.ended == nil {
		f.again = false
		f.mu.Unlock()
		err := f.guard(f.handle)
		if err != nil {
			f.end(err)
		}
		f.mu.Lock()
		f.ended = err
	}
	f.busy = false
}

// handle sends the events that have not been sent and does what is due. It returns the reason to
// end, if there is one.
func (f *following) handle() error {
	select {
	case <-f.closing.Done():
		return progress.ErrClosed
	case <-f.by.Removed():
		return errRemoved
	default:
	}
	select {
	case <-f.watcher.Ready():
		if err := f.send(); err != nil {
			return err
		}
		f.register(func() { f.ready = f.watcher.AfterReady(f.wake) })
	default:
	}
	due, err := f.follower.tick()
	if err != nil {
		return err
	}
	f.register(func() {
		switch {
		case f.timer == nil:
			f.timer = time.AfterFunc(due, f.wake)
		case f.timer.Reset(due):
			f.awake.Done() // the earlier registration counts
		}
	})
	return nil
}

// register registers with a source, unless no more registrations are allowed.
func (f *following) register(with func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.awake.Add(1)
		with()
	}
}

// send sends the pending events. It returns errJobEnded after the last event of the job, and
// [progress.ErrClosed] after the current event when the server closes: a client may take the
// full time limit for each of a hundred events.
func (f *following) send() error {
	events, err := f.watcher.Next()
	if err != nil {
		return err
	}
	for i, e := range events {
		if f.closing.Err() != nil {
			return progress.ErrClosed
		}
		whole := i+1 == len(events) || revision(&events[i+1]) > revision(&e) && e.Kind != progress.Progress
		if err := f.follower.send(e, whole); err != nil {
			return err
		}
		if e.Kind == progress.JobComplete {
			return errJobEnded
		}
	}
	return nil
}

// revision returns the revision of the change that an event reports.
func revision(e *progress.Event) int64 {
	if e.Image != nil {
		return e.Image.Revision
	}
	return e.Job.Revision
}

// message returns an event as JSON, without a line feed.
func message(e progress.Event) ([]byte, error) {
	return e.Encode(func(e progress.Event) ([]byte, error) {
		data, err := encode(eventShape(e))
		return bytes.TrimSuffix(data, []byte("\n")), err
	})
}

// startFollowing serves a client in a goroutine of its own, which frees the request and the
// stack that it needed: half of the cost of a client. Serve waits for it.
func (s *Server) startFollowing(c echo.Context, k follower, w *progress.Watcher, closed func()) {
	ctx, d, start := context.WithoutCancel(c.Request().Context()), detailsOf(c), time.Now()
	id, kind := d.jobID, "event stream"
	open, ends := s.metrics.streams, s.metrics.ends
	if _, ok := k.(*socket); ok {
		kind, open, ends = "websocket", s.metrics.sockets, s.metrics.closes
	}
	f := &following{follower: k, watcher: w, by: d.by, closing: s.closing, panicked: func(p any, stack []byte) {
		s.deps.Log.ErrorContext(ctx, "panic while a client was served", "connection", kind, "job_id", id, "panic", bounded(fmt.Sprint(p)), "stack", string(stack))
	}}
	s.running.Go(func() {
		defer closed()
		open.Add(1)
		defer open.Add(-1)
		_, _, why := closeOf(f.follow())
		ends.Inc(why)
		s.deps.Log.DebugContext(ctx, "client closed", "connection", kind, "job_id", id, "why", why, "duration", time.Since(start))
	})
}
