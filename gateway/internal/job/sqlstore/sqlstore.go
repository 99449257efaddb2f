// Package sqlstore keeps the jobs in an SQL database: in one SQLite file for a single
// gateway, or in PostgreSQL 13 or later for any number of gateways.
//
// Everything that both databases do alike is written once: the statements, the scanning
// of rows, the migrations and the methods of Store. An engine runs the transactions of
// one database, and a list of replacements turns a statement into its dialect.
//
// A write that has returned nil is on the disk. A lease is held by owner and epoch,
// whatever else was written in between. A database to which a newer version has added
// something is opened; one that a newer version has changed is refused.
//
// SQLite: the write-ahead log is synced at every commit. One goroutine writes; the
// writes that wait for it are committed together, and none waits for company. Reads
// have connections of their own, see whole commits only, and continue when the disk is
// full. The file belongs to one process at a time: a second one is refused, and a killed
// process leaves nothing in the way of the next. Since the previous writer is gone,
// OpenSQLite ends all leases.
//
// PostgreSQL: commits are synchronous. A change locks its job's row, so that gateways
// that settle the same job follow one another, and different jobs do not wait for each
// other. What a gateway has marked unsent is left to its own relay for some seconds and
// then to any. A commit whose answer was lost with its connection is ErrUnavailable; it
// has ended, one way or the other, before the next write begins. A transaction that was
// in the way of another, or whose connection turned out to be dead, is run again, a few
// times. Everything is bounded: connections, statements, waits for locks. The store
// takes a database, or a schema by search_path, of its own, and sessions of its own: a
// pooler that changes them between transactions is not supported. The clocks of
// gateways that share a store agree to within a few seconds; where they do not, leases
// change hands early, which costs work and loses none.
package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Store keeps the jobs. It is the only writer of their state; a method that returns nil
// has made its change durable. The package jobtest holds the suite that it passes on
// both databases.
//
// A write that fails with job.ErrUnavailable may have been made all the same (the
// database went away with its answer); a write that fails with any other error, the end
// of its context included, was not made. Times are kept to the microsecond.
//
// Unless documented otherwise a method does not see jobs that are still received or that
// retention has hidden. All methods may be called from many goroutines. Reads are short:
// none is open while its caller works on the result.
type Store struct {
	engine engine
	outage func(error) bool // reports errors that are no fault of the statement: the same call may succeed later
	shared bool             // other gateways write to the same database
	id     string           // random, from the first opening
	log    *slog.Logger
	health health
	lost   lostClaims

	closing chan struct{} // closed when Close begins
	close   func() error
}

// work is what a transaction does. It may be run again.
type work func(ctx context.Context, x *session) error

// engine runs the transactions of one database.
type engine interface {
	// write runs do in a transaction and returns when it is durable. When do returns an
	// error, nothing of it remains. Changes of the job that is named, if any, follow one
	// another. Errors are job.ErrUnavailable when it is unknown whether the write was made.
	write(ctx context.Context, id string, do work) error
	// read runs the queries of do in one snapshot.
	read(ctx context.Context, do work) error
	// counts returns the figures over all jobs.
	counts(ctx context.Context, x *session) (job.Counts, error)
	// shutdown ends the engine after the calls that have begun.
	shutdown() error
}

// newStore returns a store without its engine, which gets the closing channel.
func newStore(log *slog.Logger, outage func(error) bool) *Store {
	s := &Store{log: log, outage: outage, closing: make(chan struct{})}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		if err := s.engine.shutdown(); err != nil {
			return fmt.Errorf("close job store: %w", err)
		}
		return nil
	})
	return s
}

// errClosed is the error of calls after Close.
var errClosed = fmt.Errorf("%w: closed", job.ErrUnavailable)

// ID is the random name that the store got when it was created. It names the broker's
// epoch queue.
func (s *Store) ID() string { return s.id }

func (s *Store) readID(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, selectStoreID)(&s.id) })
}

// Close ends the store after the calls that have begun.
func (s *Store) Close() error { return s.close() }

// Ready returns nil when the store can write, else it reports what is missing. It writes
// only after a failed call, and then at most once a second, to see whether the database
// has recovered.
func (s *Store) Ready(ctx context.Context) error {
	if closed(s.closing) {
		return errClosed
	}
	if try, err := s.health.state(time.Now()); err != nil {
		if !try {
			return err
		}
		return s.probe(ctx)
	}
	return s.read(ctx, func(ctx context.Context, x *session) error {
		var id string
		return x.one(ctx, selectStoreID)(&id)
	})
}

// probe writes about as much as a batch takes, and frees the space in a second
// transaction: within one, it would never be written.
func (s *Store) probe(ctx context.Context) error {
	filling := make([]byte, 64<<10)
	rand.Read(filling) // It never fails, says its documentation.
	for _, data := range [][]byte{filling, {}} {
		err := s.write(ctx, "", func(ctx context.Context, x *session) error {
			_, err := x.exec(ctx, writeProbe, data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write runs do in a transaction of the engine. A change of one job names it.
func (s *Store) write(ctx context.Context, id string, do work) error {
	changed := false
	err := s.answer(ctx, s.engine.write(ctx, id, func(ctx context.Context, x *session) error {
		err := do(ctx, x)
		changed = x.changed
		return err
	}))
	if err == nil && changed {
		s.health.worked(ctx, s.log)
	}
	return err
}

// read runs the queries of do in one snapshot.
func (s *Store) read(ctx context.Context, do work) error {
	return s.answer(ctx, s.engine.read(ctx, do))
}

// answer is the error of a transaction as the domain names it.
func (s *Store) answer(ctx context.Context, err error) error {
	unknown := errors.Is(err, job.ErrUnavailable)
	switch {
	case err == nil, !unknown && !s.outage(err):
		return err
	case ctx.Err() != nil && !unknown:
		return ctx.Err()
	case closed(s.closing):
		return errClosed
	}
	return s.health.failed(ctx, s.log, unavailable(err))
}

// wrap adds to an error what was done.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf(format+": %w", append(args, *err)...)
	}
}

// closed reports whether Close has begun.
func closed(closing <-chan struct{}) bool {
	select {
	case <-closing:
		return true
	default:
		return false
	}
}

// unavailable wraps the error as job.ErrUnavailable, once.
func unavailable(err error) error {
	if errors.Is(err, job.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
}
