package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// readers is the number of concurrent reads of SQLite.
const readers = 4

// sqliteEngine runs the transactions of one file.
type sqliteEngine struct {
	path string
	log  *slog.Logger

	lock   *fileLock
	writer *database // one connection, used only by the goroutine of run
	reader *database

	groupTime time.Duration // a group ends after this time
	queue     chan *request
	closing   <-chan struct{}
	stopped   chan struct{} // closed when run has returned

	logFile logFile

	mu sync.Mutex // guards totals
	// The store is the only writer of its file, so the totals are counted once, when the file is
	// opened, and updated with every commit.
	totals job.Counts
}

// OpenSQLite opens the store in the file at path. It creates a missing file with its folder.
// The caller closes the store.
func OpenSQLite(ctx context.Context, path string, log *slog.Logger) (*Store, error) {
	return openSQLite(ctx, path, log, logLimit)
}

func openSQLite(ctx context.Context, path string, log *slog.Logger, logLimit int64) (_ *Store, err error) {
	defer wrap(&err, "open job store %s", path)
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	s := newStore(log, sqliteOutage)
	e := &sqliteEngine{
		path: path, log: log, logFile: logFile{limit: logLimit},
		groupTime: groupTime, queue: make(chan *request, queueLimit), closing: s.closing, stopped: make(chan struct{}),
	}
	s.engine = e
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeFiles())
		}
	}()

	if e.lock, err = lockFile(ctx, path); err != nil {
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
	e.writer = &database{pool: pool}
	if err := e.migrate(ctx); err != nil {
		return nil, err
	}
	pool, err = openPool(path, readers, "mode=ro", "_busy_timeout=5000", "_query_only=1", "_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	e.reader = &database{pool: pool}
	own := []string{insertImage, savepoint, rollbackToSavepoint, releaseSavepoint}
	if err := e.writer.prepare(ctx, slices.Concat(statements, own)...); err != nil {
		return nil, err
	}
	if err := e.reader.prepare(ctx, readStatements...); err != nil {
		return nil, err
	}
	if err := s.readID(ctx); err != nil {
		return nil, err
	}
	if err := e.read(ctx, e.countAll); err != nil {
		return nil, err
	}

	// The writer outlives this call: Close ends it.
	go e.run(context.WithoutCancel(ctx))
	return s, nil
}

// openPool opens connections to the file with the driver's parameters.
func openPool(path string, conns int, params ...string) (*sql.DB, error) {
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // a drive letter is not a host
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

// migrate migrates the file to this version and ends all leases: the gateways that held them
// have ended, because this one holds the lock of the file.
func (e *sqliteEngine) migrate(ctx context.Context) error {
	x, t, err := e.writer.begin(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin migration: %w", err)
	}
	defer t.Rollback() // no effect after the commit
	err = x.script(ctx, `CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`)
	if err != nil {
		return fmt.Errorf("create table migrations: %w", err)
	}
	if err := x.migrate(ctx, "sqlite", e.log); err != nil {
		return err
	}
	for _, query := range endLeases {
		if _, err := x.exec(ctx, query); err != nil {
			return fmt.Errorf("end the old leases: %w", err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit migration: %w", err)
	}
	return nil
}

// endLeases runs once. Without INDEXED BY the second statement would scan all jobs.
var endLeases = []string{
	`DELETE FROM owners`,
	`UPDATE jobs SET lease_owner = '', lease_until = 0
		WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_work WHERE work > 0)`,
}

func (e *sqliteEngine) shutdown() error {
	<-e.stopped
	return e.closeFiles()
}

// closeFiles closes everything that is open, the lock last.
func (e *sqliteEngine) closeFiles() error {
	var errs []error
	for _, db := range []*database{e.reader, e.writer} {
		if db != nil {
			errs = append(errs, db.close())
		}
	}
	if e.lock != nil {
		errs = append(errs, e.lock.release())
	}
	return errors.Join(errs...)
}

func (e *sqliteEngine) read(ctx context.Context, do work) error {
	x, t, err := e.reader.begin(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		if closed(e.closing) {
			return errClosed
		}
		return err
	}
	err = do(ctx, x)
	if end := t.Rollback(); err == nil {
		err = end
	}
	return err
}

const countFile = `SELECT (SELECT coalesce(sum(jobs), 0) FROM totals),
	(SELECT count(*) FROM images WHERE end_time = 0), (SELECT count(*) FROM images WHERE unsent = 1)`

func (e *sqliteEngine) countAll(ctx context.Context, x *session) error {
	return x.one(ctx, countFile)(&e.totals.Jobs, &e.totals.OpenImages, &e.totals.Unsent)
}

// confirm returns at once: reads see only what is on disk.
func (e *sqliteEngine) confirm(context.Context) error { return nil }

func (e *sqliteEngine) counts(ctx context.Context, x *session) (job.Counts, error) {
	e.mu.Lock()
	c := e.totals
	e.mu.Unlock()
	var oldest int64
	err := x.one(ctx, selectOldest)(&oldest)
	c.OldestOpen = fromMicros(oldest)
	return c, err
}

// sqliteOutage reports whether the error is caused by the state of the file (disk full, files
// missing, locked by another process). A damaged file counts as well: no job is lost by
// waiting for an operator. So does a statement that was interrupted by the end of its context.
func sqliteOutage(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone)
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
		sqlite3.SQLITE_PERM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}
