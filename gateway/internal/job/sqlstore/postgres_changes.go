package sqlstore

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

const (
	shards        = 4   // transactions with changes in progress
	changesAtOnce = 128 // in one transaction
)

// shard commits the changes of some of the jobs, one transaction after another. Changes that arrive
// during one are committed together by the next, and none waits for others to arrive. Otherwise, changes
// of one job would wait for each other in the database, each with a connection.
type shard struct {
	turn    chan struct{} // holds a token during a transaction
	mu      sync.Mutex    // guards waiting
	waiting []*change
}

func (s *shard) add(c *change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, c)
}

// take removes the changes of the next transaction.
func (s *shard) take() []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), changesAtOnce)
	list := slices.Clone(s.waiting[:n])
	s.waiting = slices.Delete(s.waiting, 0, n)
	return list
}

// withdraw removes a change that no transaction has taken, and reports whether there was one.
func (s *shard) withdraw(c *change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, c)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}

// change commits the change together with others. One of the waiting callers runs the transaction
// for all of them.
func (e *postgresEngine) change(ctx context.Context, c *change) error {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.ref.JobID)) // documented to never fail
	s := &e.shards[h.Sum32()%shards]
	c.done = make(chan struct{})
	s.add(c)
	for {
		select {
		case <-c.done:
			return c.lost
		case <-ctx.Done():
			if s.withdraw(c) {
				return ctx.Err()
			}
			<-c.done
			return c.lost
		case s.turn <- struct{}{}:
			e.commit(ctx, s)
			<-s.turn
		}
	}
}

// commit commits the waiting changes. The end of ctx, that of one of the callers, prevents the transaction,
// and does not interrupt it.
func (e *postgresEngine) commit(ctx context.Context, s *shard) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	preventable := context.AfterFunc(ctx, cancel)
	defer preventable()
	var list []*change
	begun := false // a transaction that is repeated has the same changes
	err := e.write(own, func(ctx context.Context, x *session) error {
		if !begun {
			if !preventable() {
				return context.Canceled
			}
			begun, list = true, s.take()
		}
		return x.change(ctx, list)
	})
	if !begun {
		if ctx.Err() != nil {
			return // Another caller runs the transaction.
		}
		list = s.take() // There is no connection, also not for the others.
	}
	alone := err != nil && len(list) > 1 && !postgresOutage(err) && !errors.Is(err, job.ErrUnavailable)
	for _, c := range list {
		c.lost = err
		if alone { // One of the changes cannot be written, and the others can.
			c.lost = e.write(own, func(ctx context.Context, x *session) error { return x.change(ctx, []*change{c}) })
		}
		if c.lost != nil {
			c.changed = false
		}
		close(c.done)
	}
}
