package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Bounds of every transaction.
const (
	writeTime = 10 * time.Second // from its connection to the answer of the commit
	readTime  = 5 * time.Second
	waitTime  = 10 * time.Second // for a free connection
	attempts  = 4                // of one transaction
)

// session is one transaction and what it has changed so far.
type session struct {
	pgx.Tx
	changed bool
	delta   job.Counts // what the transaction adds to the figures
	claimed claims     // what it claims
}

// exec runs a statement and returns how many rows it changed.
func (x *session) exec(ctx context.Context, query string, args ...any) (int, error) {
	tag, err := x.Exec(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	x.changed = x.changed || tag.RowsAffected() > 0
	return int(tag.RowsAffected()), nil
}

// one runs a query and returns the scan of its first row, which gives
// pgx.ErrNoRows when there is none.
func (x *session) one(ctx context.Context, query string, args ...any) scanner {
	return x.QueryRow(ctx, query, args...).Scan
}

// all runs a query whose rows collect reads.
func (x *session) all(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return x.Query(ctx, query, args...)
}

// write runs do in a transaction and returns when that is durable. When do
// returns an error, nothing of it remains. do may be run again.
func (s *Store) write(ctx context.Context, do func(context.Context, *session) error) error {
	select {
	case s.writers <- struct{}{}:
		defer func() { <-s.writers }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return errClosed
	}
	return s.repeat(ctx, func() error { return s.writeOnce(ctx, do) })
}

// repeat runs a transaction until it was not in the way of another nor on a
// connection that had broken, a few times at most.
func (s *Store) repeat(ctx context.Context, once func() error) error {
	for n := 1; ; n++ {
		err := once()
		if err == nil || n == attempts || !repeatable(err) || s.closed() {
			return s.answer(ctx, err)
		}
		wait := time.NewTimer(rand.N(time.Duration(n) * 10 * time.Millisecond))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}

// answer is what the caller of a transaction gets to know of its error.
func (s *Store) answer(ctx context.Context, err error) error {
	away := errors.Is(err, job.ErrUnavailable) || outage(err)
	switch {
	case err == nil, !away:
		return err
	case ctx.Err() != nil && !errors.Is(err, job.ErrUnavailable):
		return ctx.Err()
	case s.closed():
		return errClosed
	}
	return s.health.failed(ctx, s.log, unavailable(err))
}

// acquire gets a connection. ctx bounds the wait, and nothing after that: a
// transaction that has begun is bounded by itself, so that no client that goes
// away costs a connection, nor leaves open whether its job exists.
func (s *Store) acquire(ctx context.Context, limit time.Duration) (*pgxpool.Conn, context.Context, context.CancelFunc, error) {
	waiting, cancel := context.WithTimeout(ctx, waitTime)
	conn, err := s.pool.Acquire(waiting)
	cancel()
	switch {
	case err == nil:
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		return conn, own, cancel, nil
	case ctx.Err() != nil:
		return nil, nil, nil, ctx.Err()
	case s.closed():
		return nil, nil, nil, errClosed
	}
	return nil, nil, nil, unavailable(fmt.Errorf("connect: %w", err))
}

func (s *Store) writeOnce(ctx context.Context, do func(context.Context, *session) error) error {
	conn, ctx, cancel, err := s.acquire(ctx, writeTime)
	if err != nil {
		return err
	}
	defer cancel()
	defer conn.Release() // It closes one whose transaction has not ended.
	if err := s.doubts.settle(ctx, conn); err != nil {
		return broken(conn, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return broken(conn, fmt.Errorf("begin: %w", err))
	}
	x := &session{Tx: tx}
	if err := do(ctx, x); err != nil {
		return errors.Join(broken(conn, err), s.undo(ctx, conn, x))
	}
	if !x.changed {
		return s.undo(ctx, conn, x)
	}
	if x.delta != (job.Counts{}) {
		if _, err := x.exec(ctx, addFigures, x.delta.Jobs, x.delta.OpenImages, x.delta.Unsent); err != nil {
			return errors.Join(broken(conn, fmt.Errorf("add to the figures: %w", err)), s.undo(ctx, conn, x))
		}
	}
	if err := x.Commit(ctx); err != nil {
		err = fmt.Errorf("commit: %w", err)
		if !refused(err) {
			s.doubts.add(conn, x.claimed)
			return unavailable(err) // Not to be tried again: it may have been made.
		}
		return err
	}
	s.health.worked(ctx, s.log)
	return nil
}

// undo ends a transaction of which nothing is to remain. Of an error nothing is
// told where the connection tells it: that is closed then, which undoes as well.
func (s *Store) undo(ctx context.Context, conn *pgxpool.Conn, x *session) error {
	if err := x.Rollback(ctx); err != nil && !conn.Conn().IsClosed() {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// broken marks the error of a call that has cost its connection.
func broken(conn *pgxpool.Conn, err error) error {
	if err != nil && conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

// read runs the queries of do in one snapshot.
func (s *Store) read(ctx context.Context, do func(context.Context, *session) error) error {
	return s.repeat(ctx, func() error {
		conn, ctx, cancel, err := s.acquire(ctx, readTime)
		if err != nil {
			return err
		}
		defer cancel()
		defer conn.Release()
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return broken(conn, fmt.Errorf("begin: %w", err))
		}
		x := &session{Tx: tx}
		err = broken(conn, do(ctx, x))
		return errors.Join(orNotFound(err), s.undo(ctx, conn, x))
	})
}
