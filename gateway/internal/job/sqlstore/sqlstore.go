// Package sqlstore stores the jobs in an SQL database: in one SQLite file for a single
// gateway, or in PostgreSQL (15, 17 or 18) for any number of gateways.
//
// Everything that both databases have in common is written once: the statements, the scanning
// of rows, the migrations and the methods of Store. An engine runs the transactions of one
// database, and a list of replacements translates a statement into its dialect.
//
// When a write returns nil, it is on disk. A lease is held by owner and epoch, whatever else
// was written in between. A database to which a newer version has made compatible additions is
// opened; a database with incompatible changes is rejected.
//
// SQLite: the write-ahead log is synced at every commit. One goroutine writes. It commits
// waiting writes together, and no write waits for others to arrive. Reads have their own
// connections, see only whole commits, and continue when the disk is full. The file belongs
// to one process at a time: a second process is rejected, and a killed process does not block
// the next one. OpenSQLite ends all leases, because the previous writer has ended.
//
// PostgreSQL: commits are synchronous, and wait for a synchronous standby if there is one. A commit
// whose wait was interrupted is visible, although a failover may lose it. So a write that finds nothing left
// to do waits for the standby as well. A change locks its job's row, so that gateways that
// settle the same job take turns. Changes that wait at the same time are committed together, with
// the rows of their jobs locked in the order of their IDs. Images that
// a gateway has marked unsent are left to its own relay for some seconds and then to any
// relay. A commit whose response was lost with its connection returns ErrUnavailable; it has
// been committed or rolled back before the next write starts. A transaction that conflicted
// with another, or whose connection was dead, is repeated a few times. Connections,
// statements and waits for locks are limited. The store needs its own database, or its own
// schema by search_path, and its own sessions: a pooler that switches sessions between
// transactions is not supported. The clocks of gateways that share a store must agree to
// within a few seconds; otherwise leases change hands early, which repeats work and loses
// none.
package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Store stores the jobs. It is the only writer of their state. When a method returns nil, its
// change is durable. Package jobtest contains the test suite that the store passes on both
// databases.
//
// A write that fails with job.ErrUnavailable may have been applied (the connection was lost
// before the response); a write that fails with any other error, including the end of its context,
// was not. Times have microsecond precision.
//
// Unless documented otherwise, a method does not see jobs that are still being received or
// that retention has hidden. All methods are safe for concurrent use. Reads are short: none
// is open while the caller works on the result.
type Store struct {
	engine engine
	outage func(error) bool // reports errors that the statement did not cause: the same call may succeed later
	shared bool             // other gateways write to the same database
	id     string           // random, created with the database
	log    *slog.Logger
	health health
	lost   lostClaims

	closing chan struct{} // closed when Close starts
	close   func() error
}

// work is the body of a transaction. It may run several times.
type work func(ctx context.Context, x *session) error

// engine runs the transactions of one database.
type engine interface {
	// write runs do in a transaction and returns when that, or what it found done already, is
	// durable. When do returns an error, the transaction is rolled back. It returns job.ErrUnavailable when it is unknown whether the
	// write was applied.
	write(ctx context.Context, do work) error
	// change makes the change in a transaction, and returns when that is durable. Its errors are
	// those of write.
	change(ctx context.Context, c *change) error
	// read runs the queries of do in one snapshot. It may see a commit that a failover still loses.
	read(ctx context.Context, do work) error
	// confirm returns when no failover can lose what the calls before it have seen.
	confirm(ctx context.Context) error
	// counts returns the statistics over all jobs.
	counts(ctx context.Context, x *session) (job.Counts, error)
	// shutdown closes the engine after the calls in progress.
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

// IsPostgres reports whether the URL is that of a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres:") || strings.HasPrefix(url, "postgresql:")
}

// Open opens the store at the URL, which starts with sqlite: or is one of PostgreSQL.
func Open(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	if IsPostgres(url) {
		return OpenPostgres(ctx, url, log)
	}
	store, err := OpenSQLite(ctx, strings.TrimPrefix(url, "sqlite:"), log)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	return store, nil
}

// ID returns the random ID that the store was given at its creation. It names the broker's
// epoch queue and is in every message.
func (s *Store) ID() string { return s.id }

// NewID gives the store another random ID, so that it is distinct from the store that it is a
// copy of, and returns it. All gateways with the store, this one too, must be restarted; until
// then, they are not ready.
func (s *Store) NewID(ctx context.Context) (id string, err error) {
	id = randomName()
	err = s.write(ctx, func(ctx context.Context, x *session) error {
		_, err := x.exec(ctx, renameStore, id)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("give the store another ID: %w", err)
	}
	return id, nil
}

func (s *Store) readID(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, selectStoreID)(&s.id) })
}

// Close closes the store after the calls in progress.
func (s *Store) Close() error { return s.close() }

// Ready returns nil when the store can write, and otherwise the reason. It writes only after a
// failed call, and then at most once a second, to check whether the database has
// recovered.
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
		if err := x.one(ctx, selectStoreID)(&id); err != nil {
			return err
		}
		if id != s.id {
			return fmt.Errorf("the job store was given another ID (%s, before %s): restart the gateway", id, s.id)
		}
		return nil
	})
}

// probe writes about as much as a batch needs, and frees the space in a second transaction:
// within one transaction, the data would never be written.
func (s *Store) probe(ctx context.Context) error {
	filling := make([]byte, 64<<10)
	rand.Read(filling) // documented to never fail
	for _, data := range [][]byte{filling, {}} {
		err := s.write(ctx, func(ctx context.Context, x *session) error {
			_, err := x.exec(ctx, writeProbe, data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write runs do in a transaction of the engine.
func (s *Store) write(ctx context.Context, do work) error {
	changed := false
	err := s.engine.write(ctx, func(ctx context.Context, x *session) error {
		err := do(ctx, x)
		changed = x.changed
		return err
	})
	return s.end(ctx, err, changed)
}

// end returns the error of a transaction that may have changed something.
func (s *Store) end(ctx context.Context, err error, changed bool) error {
	if err = s.domainError(ctx, err); err == nil && changed {
		s.health.worked(ctx, s.log)
	}
	return err
}

// read runs the queries of do in one snapshot.
func (s *Store) read(ctx context.Context, do work) error {
	return s.domainError(ctx, s.engine.read(ctx, do))
}

// domainError returns the error of a transaction as an error of package job.
func (s *Store) domainError(ctx context.Context, err error) error {
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

// wrap adds the description of the operation to an error.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf(format+": %w", append(args, *err)...)
	}
}

// closed reports whether Close has started.
func closed(closing <-chan struct{}) bool {
	select {
	case <-closing:
		return true
	default:
		return false
	}
}

// unavailable wraps the error as job.ErrUnavailable, unless it is one already.
func unavailable(err error) error {
	if errors.Is(err, job.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", job.ErrUnavailable, err)
}
