// Package sqlite keeps the jobs in one SQLite file, for a single gateway.
//
// What a write has answered is on the disk: the write-ahead log is synced at every
// commit. One goroutine writes; what is waiting for it is committed together, and
// nobody waits for company. Reads have connections of their own, see whole
// commits only, and go on when the disk is full.
//
// The file belongs to one process at a time: a second one is refused at Open, and
// a process that was killed leaves nothing in the way of the next. Since whoever
// wrote the file before is gone, Open ends all leases. A database to which a newer
// version has added something is taken, one that it has changed is refused.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// readers is how many reads run side by side.
const readers = 4

var _ job.Store = (*Store)(nil)

// Store is a job.Store in one file.
type Store struct {
	id   string
	path string
	log  *slog.Logger

	lock   *fileLock
	writer *database // one connection, used by the goroutine of run alone
	reader *database

	groupTime time.Duration // a group ends after it
	queue     chan *request
	closing   chan struct{} // closed when Close begins
	stopped   chan struct{} // closed when run has ended
	close     func() error

	figures figures
	health  health
	logFile logFile
}

// Open opens the store in the file at path, which it makes, with its folder, if
// there is none. The caller closes the store.
func Open(ctx context.Context, path string, log *slog.Logger) (*Store, error) {
	s, err := open(ctx, path, log, logLimit)
	if err != nil {
		return nil, fmt.Errorf("open job store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, log *slog.Logger, logLimit int64) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	s := &Store{
		path: path, log: log, logFile: logFile{limit: logLimit},
		groupTime: groupTime, queue: make(chan *request, queueLimit), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.close = sync.OnceValue(s.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeFiles())
		}
	}()

	if s.lock, err = lockFile(ctx, path); err != nil {
		return nil, err
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	pool, err := openPool(path, 1, "_busy_timeout=5000", "_journal_mode=WAL", "_synchronous=FULL",
		"_foreign_keys=1", "_txlock=immediate", "_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	s.writer = &database{pool: pool}
	if err := migrate(ctx, pool, log); err != nil {
		return nil, err
	}
	if err := endLeases(ctx, pool); err != nil {
		return nil, fmt.Errorf("end the old leases: %w", err)
	}
	if err := s.writer.prepare(ctx, writeQueries); err != nil {
		return nil, err
	}
	pool, err = openPool(path, readers, "mode=ro", "_busy_timeout=5000", "_query_only=1", "_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	s.reader = &database{pool: pool}
	if err := s.reader.prepare(ctx, readQueries); err != nil {
		return nil, err
	}
	if err := s.read(ctx, func(ctx context.Context, x *session) error {
		s.id, s.figures.counts, err = x.opening(ctx)
		return err
	}); err != nil {
		return nil, err
	}

	// The writer outlives this call: Close ends it.
	go s.run(context.WithoutCancel(ctx))
	return s, nil
}

// openPool opens connections to the file with the driver's parameters.
func openPool(path string, conns int, params ...string) (*sql.DB, error) {
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // A drive letter is no host.
	}
	dsn := url.URL{Scheme: "file", Path: name, RawQuery: strings.Join(params, "&")}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// ID is the random name that the store got when it was made.
func (s *Store) ID() string { return s.id }

// Close ends the store after the writes that were begun.
func (s *Store) Close() error { return s.close() }

func (s *Store) shutdown() error {
	close(s.closing)
	<-s.stopped
	if err := s.closeFiles(); err != nil {
		return fmt.Errorf("close job store: %w", err)
	}
	return nil
}

// closeFiles closes what is open, the lock last.
func (s *Store) closeFiles() error {
	var errs []error
	for _, db := range []*database{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
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

// errClosed is what calls after Close get.
var errClosed = fmt.Errorf("%w: closed", job.ErrUnavailable)

// Ready is nil when the store can write, else it says what is missing. It writes
// only after a failed write, and then at most once a second, to see whether that
// has healed.
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

// probe writes about as much as a batch takes, and in a second transaction gives
// the room back: what is given back in the same one is never written.
func (s *Store) probe(ctx context.Context) error {
	for _, query := range []string{growProbe, shrinkProbe} {
		err := s.write(ctx, func(ctx context.Context, x *session) error {
			_, err := x.exec(ctx, query)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
