package sqlite

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Bounds of the writer. A group ends at whichever comes first, so that a small
// write never waits long behind a row of big ones.
const (
	queueLimit = 1024 // writes waiting to be taken; callers beyond wait to enter
	groupLimit = 256
	groupTime  = 20 * time.Millisecond
)

// request is one write on its way through the writer.
type request struct {
	do   func(context.Context, *session) error
	fate atomic.Int32
	err  error         // set before done is closed
	done chan struct{} // closed by the writer
}

// What has become of a request: the writer or its caller decides, once. That
// makes the end of a caller's context unambiguous: what was withdrawn was never
// begun, and what was begun is waited for.
const (
	waiting int32 = iota
	taken
	withdrawn
)

func (r *request) take() bool     { return r.fate.CompareAndSwap(waiting, taken) }
func (r *request) withdraw() bool { return r.fate.CompareAndSwap(waiting, withdrawn) }

func (r *request) answer(err error) {
	r.err = err
	close(r.done)
}

// write has the writer run do in a transaction and returns when that is durable.
// When do returns an error, nothing of it remains.
func (s *Store) write(ctx context.Context, do func(context.Context, *session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed() {
		return errClosed
	}
	r := &request{do: do, done: make(chan struct{})}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return errClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.withdraw() {
			return ctx.Err()
		}
	case <-s.stopped:
		if r.withdraw() {
			return errClosed
		}
	}
	<-r.done
	return r.err
}

// run commits what comes through the queue, until Close; what waits then is
// still committed.
func (s *Store) run(ctx context.Context) {
	defer close(s.stopped)
	var group []*request
	for {
		if len(group) == 0 {
			select {
			case r := <-s.queue:
				group = append(group, r)
			case <-s.closing:
				if len(s.queue) == 0 {
					return
				}
				continue
			}
		}
		for len(group) < groupLimit && len(s.queue) > 0 {
			group = append(group, <-s.queue)
		}
		done := s.commit(ctx, group)
		group = slices.Delete(group, 0, done)
		s.keepLogShort(ctx)
	}
}

// commit runs the first requests of the group in one transaction, each under a
// savepoint of its own, answers them and returns how many they were. The rest did
// not fit or came after one that found the database unavailable.
func (s *Store) commit(ctx context.Context, group []*request) int {
	x, err := s.writer.begin(ctx, nil)
	if err != nil {
		err = s.health.failed(ctx, s.log, err)
		for _, r := range group {
			if r.take() {
				r.answer(err)
			}
		}
		return len(group)
	}
	begun := time.Now()
	seen := 0
	var well []*request // Their answer is that of the commit.
	for _, r := range group {
		seen++
		if !r.take() {
			continue
		}
		var failed error
		if failed, err = x.attempt(ctx, r); err != nil {
			r.answer(s.health.failed(ctx, s.log, err))
			break
		}
		if failed != nil {
			r.answer(failed)
		} else {
			well = append(well, r)
		}
		if time.Since(begun) > s.groupTime {
			break
		}
	}
	if err == nil {
		err = x.Commit()
	} else {
		_ = x.Rollback() // The error that led here is the one to tell.
	}
	if err != nil {
		err = s.health.failed(ctx, s.log, err)
	} else {
		s.figures.add(x.delta)
		if x.changed {
			s.health.worked(ctx, s.log)
		}
	}
	for _, r := range well {
		r.answer(err)
	}
	return seen
}

// attempt runs one request under a savepoint. The first error is the request's
// own: nothing of it remains, and the transaction goes on. The second one ends
// the transaction.
func (x *session) attempt(ctx context.Context, r *request) (failed, broken error) {
	if err := x.control(ctx, savepoint); err != nil {
		return nil, fmt.Errorf("begin savepoint: %w", err)
	}
	delta, changed := x.delta, x.changed
	failed = r.do(ctx, x)
	if failed != nil {
		if outage(failed) {
			return nil, failed
		}
		x.delta, x.changed = delta, changed
		if err := x.control(ctx, rollbackToSavepoint); err != nil {
			return nil, fmt.Errorf("roll back savepoint: %w", err)
		}
	}
	if err := x.control(ctx, releaseSavepoint); err != nil {
		return nil, fmt.Errorf("release savepoint: %w", err)
	}
	return failed, nil
}
