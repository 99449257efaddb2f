package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Limits of the writer. A group ends at the first limit, so that a small write never waits
// long behind a series of large ones.
const (
	queueLimit = 1024 // length of the queue; further callers wait to enter it
	groupLimit = 256
	groupTime  = 20 * time.Millisecond
)

// Statements of the writer, which modify no rows themselves.
const (
	savepoint           = `SAVEPOINT request`
	rollbackToSavepoint = `ROLLBACK TO request`
	releaseSavepoint    = `RELEASE request`
)

// request is one write for the writer.
type request struct {
	do    work
	state atomic.Int32
	err   error         // set before done is closed
	done  chan struct{} // closed by the writer
}

// State of a request. The writer or its caller sets it once, which makes the end of a caller's
// context unambiguous: a withdrawn request was never started, and a started request is waited
// for.
const (
	waiting int32 = iota
	taken
	withdrawn
)

func (r *request) take() bool     { return r.state.CompareAndSwap(waiting, taken) }
func (r *request) withdraw() bool { return r.state.CompareAndSwap(waiting, withdrawn) }

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// write has the writer run do in a transaction.
func (e *sqliteEngine) write(ctx context.Context, do work) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if closed(e.closing) {
		return errClosed
	}
	r := &request{do: do, done: make(chan struct{})}
	select {
	case e.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closing:
		return errClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.withdraw() {
			return ctx.Err()
		}
	case <-e.stopped:
		if r.withdraw() {
			return errClosed
		}
	}
	<-r.done
	return r.err
}

// change has the writer make the change: it commits those that wait together.
func (e *sqliteEngine) change(ctx context.Context, c *change) error {
	return e.write(ctx, func(ctx context.Context, x *session) error { return x.change(ctx, []*change{c}) })
}

// run commits the requests in the queue until Close. It still commits requests that are
// waiting then.
func (e *sqliteEngine) run(ctx context.Context) {
	defer close(e.stopped)
	var group []*request
	for {
		if len(group) == 0 {
			select {
			case r := <-e.queue:
				group = append(group, r)
			case <-e.closing:
				if len(e.queue) == 0 {
					return
				}
				continue
			}
		}
		for len(group) < groupLimit && len(e.queue) > 0 {
			group = append(group, <-e.queue)
		}
		done := e.commit(ctx, group)
		group = slices.Delete(group, 0, done)
		e.keepLogShort(ctx)
	}
}

// commit runs the first requests of the group in one transaction, each under its own
// savepoint, reports their results and returns their number. The rest did not fit or came
// after a request that found the database unavailable.
func (e *sqliteEngine) commit(ctx context.Context, group []*request) int {
	x, t, err := e.writer.begin(ctx, nil)
	if err != nil {
		for _, r := range group {
			if r.take() {
				r.finish(failure(err))
			}
		}
		return len(group)
	}
	started := time.Now()
	seen := 0
	var succeeded []*request // their result is the result of the commit
	for _, r := range group {
		seen++
		if !r.take() {
			continue
		}
		var failed error
		if failed, err = attempt(ctx, x, t, r); err != nil {
			r.finish(failure(err))
			break
		}
		if failed != nil {
			r.finish(failed)
		} else {
			succeeded = append(succeeded, r)
		}
		if time.Since(started) > e.groupTime {
			break
		}
	}
	if err == nil {
		err = t.Commit()
	} else {
		_ = t.Rollback() // the earlier error is the one to report
	}
	if err == nil {
		e.mu.Lock()
		e.totals.Jobs += x.delta.Jobs
		e.totals.OpenImages += x.delta.OpenImages
		e.totals.Unsent += x.delta.Unsent
		e.mu.Unlock()
	}
	for _, r := range succeeded {
		r.finish(failure(err))
	}
	return seen
}

// failure marks an error of the database: a commit whose sync failed may still be on disk.
func failure(err error) error {
	if err != nil && sqliteOutage(err) {
		return unavailable(err)
	}
	return err
}

// attempt runs one request under a savepoint. The first error is the request's own: its
// changes are rolled back, and the transaction continues. The second error ends the
// transaction.
func attempt(ctx context.Context, x *session, t *sqliteTx, r *request) (failed, broken error) {
	if err := t.run(ctx, &statement{query: savepoint}); err != nil {
		return nil, fmt.Errorf("begin savepoint: %w", err)
	}
	delta, changed := x.delta, x.changed
	failed = r.do(ctx, x)
	if failed != nil {
		if sqliteOutage(failed) {
			return nil, failed
		}
		x.delta, x.changed = delta, changed
		if err := t.run(ctx, &statement{query: rollbackToSavepoint}); err != nil {
			return nil, fmt.Errorf("roll back savepoint: %w", err)
		}
	}
	if err := t.run(ctx, &statement{query: releaseSavepoint}); err != nil {
		return nil, fmt.Errorf("release savepoint: %w", err)
	}
	return failed, nil
}
