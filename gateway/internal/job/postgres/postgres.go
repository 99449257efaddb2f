// Package postgres keeps the jobs in a PostgreSQL database (13 or later), which
// any number of gateways share.
//
// What a write has answered is committed, and synchronously. A change holds the
// lock of its job's row, so that gateways that settle the same job follow one
// another, and jobs that differ do not wait for each other; PostgreSQL itself syncs
// concurrent commits together. A lease is held by owner and epoch, whoever else
// writes in between. What a gateway has made unsent is left to its own relay for
// some seconds and then to any.
//
// A commit whose answer was lost with its connection is ErrUnavailable; it has ended,
// one way or the other, before the next write begins. A transaction that was in
// the way of another, or whose connection turned out to be dead, is run again, a few
// times. Everything is bounded: connections, statements, waits for locks.
//
// It takes a database, or a schema by search_path, of its own. One to which a newer
// version has added something is taken, one that it has changed is refused. It wants sessions of its own too: a pooler in front
// that changes them between transactions is not supported. Gateways that share a
// store have clocks that agree to within a few seconds; where they do not, leases
// change hands early, which costs work and loses none.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

var _ job.Store = (*Store)(nil)

// Store is a job.Store in a PostgreSQL database.
type Store struct {
	id    string
	relay string // this Store among all that share the database
	log   *slog.Logger
	pool  *pgxpool.Pool

	writers chan struct{} // a token for each write; some connections are left to reads
	lanes   lanes
	doubts  doubts
	health  health

	closing chan struct{} // closed when Close begins
	close   func()
}

// openTime is for how long Open waits for a database that does not answer: it may
// be starting too.
const openTime = time.Minute

// Open opens the store in the database that the URL names, and makes its tables if
// there are none. The caller closes the store.
func Open(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	c, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("open job store: %w", err)
	}
	c.AfterConnect = identify
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open job store: %w", err)
	}
	most := int(c.MaxConns)
	s := &Store{
		relay: rand.Text(), log: log, pool: pool,
		writers: make(chan struct{}, most-most/4), lanes: lanes{lanes: map[string]*lane{}}, closing: make(chan struct{}),
	}
	s.close = sync.OnceFunc(func() {
		close(s.closing)
		pool.Close() // It waits for what has a connection, all of which is bounded.
	})
	if err := s.prepare(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("open job store: %w", err)
	}
	return s, nil
}

// prepare waits for the database and brings it to this version.
func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for n := 0; ; n++ {
		err := s.migrate(ctx)
		if err == nil {
			err = s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, selectStoreID)(&s.id) })
		}
		if err == nil || !absent(err) {
			return err
		}
		if n == 0 {
			s.log.WarnContext(ctx, "waiting for the job store", slog.Any("error", err))
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// absent tells whether the database does not answer yet, or has gone away while it
// did. That it refuses us is an answer.
func absent(err error) bool {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failure.Code {
		case "57P01", "57P02", "57P03", // stopped, another process of it was killed, starting up
			"53300": // too many connections
			return true
		}
		return false
	}
	return outage(err)
}

// ID is the random name that the store got when it was made.
func (s *Store) ID() string { return s.id }

// Close ends the store after the calls that were begun.
func (s *Store) Close() error {
	s.close()
	return nil
}

// closed reports whether Close has begun.
func (s *Store) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Ready is nil when the store can write, else it says what is missing. It writes
// only after a failed call, and then at most once a second, to see whether that has
// healed.
func (s *Store) Ready(ctx context.Context) error {
	if s.closed() {
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

// probe writes about as much as a batch takes, and gives the room back.
func (s *Store) probe(ctx context.Context) error {
	filling := make([]byte, 64<<10)
	rand.Read(filling) // It never fails, says its documentation.
	err := s.write(ctx, func(ctx context.Context, x *session) error {
		_, err := x.exec(ctx, growProbe, filling)
		return err
	})
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, x *session) error {
		_, err := x.exec(ctx, shrinkProbe)
		return err
	})
}
