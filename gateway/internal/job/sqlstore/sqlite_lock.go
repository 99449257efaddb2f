package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fileLock keeps a second gateway from opening the database. It is SQLite's own exclusive
// lock on an empty database next to it: the operating system releases it when the process
// ends in any way, and it works wherever SQLite works.
type fileLock struct {
	db *sql.DB
	tx *sql.Tx
}

// lockFile takes the lock of the database at path. It does not wait for it.
func lockFile(ctx context.Context, path string) (*fileLock, error) {
	db, err := openPool(path+".lock", 1, "_journal_mode=MEMORY", "_txlock=exclusive")
	if err != nil {
		return nil, err
	}
	// The transaction lasts as long as the store, not only for this call.
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err == nil {
		return &fileLock{db: db, tx: tx}, nil
	}
	if failure, ok := errors.AsType[*sqlite.Error](err); ok && failure.Code()&0xff == sqlite3.SQLITE_BUSY {
		err = fmt.Errorf("%s is in use by another gateway: end that one, or choose another folder", filepath.Base(path))
	} else {
		err = fmt.Errorf("lock %s.lock: %w", path, err)
	}
	return nil, errors.Join(err, db.Close())
}

func (l *fileLock) release() error {
	return errors.Join(l.tx.Rollback(), l.db.Close())
}

// createFile creates the database's file if it does not exist, accessible only for its owner:
// jobs contain the URLs that clients sent. SQLite gives its other files the same mode. The
// caller holds the lock, because closing the descriptor would drop the SQLite locks of this
// process.
func createFile(path string) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return f.Close()
}
