package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Copied describes the content of a copy.
type Copied struct {
	Jobs       int // open and ended jobs, including those that retention is about to delete
	OpenImages int // images that have not ended
	Bytes      int64
}

// Backup copies the store in the file at path into a new file, in a consistent state, whether
// or not a gateway uses it. The file gets its name only when the copy is complete, checked
// and on disk. During the copy, the gateway's write-ahead log grows by what the gateway
// writes.
//
// A copy is a store with a new name, which the broker does not know. A gateway that is started
// on it therefore sends all its open images again.
func Backup(ctx context.Context, path, to string) (_ Copied, err error) {
	defer wrap(&err, "back up job store %s", path)
	path, to, err = both(path, to)
	if err != nil {
		return Copied{}, err
	}
	partial, c, err := duplicate(ctx, path, to)
	if err != nil {
		return Copied{}, err
	}
	return c, place(partial, to)
}

// Restore replaces the store in the file at path, which no gateway may be using, with a copy.
// It returns the path to which it has moved the old store, if there was one. The copy itself is not
// modified.
func Restore(ctx context.Context, from, path string) (c Copied, before string, err error) {
	defer wrap(&err, "restore job store %s", path)
	from, path, err = both(from, path)
	if err != nil {
		return c, "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return c, "", err
	}
	lock, err := lockFile(ctx, path)
	if err != nil {
		return c, "", err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if from == path {
		return c, "", errors.New("source is the store itself")
	}
	partial, c, err := duplicate(ctx, from, path+".restored")
	if err != nil {
		return c, "", fmt.Errorf("%s: %w", from, err)
	}
	// The log of the old store must never be applied to the new one.
	aside := path + ".before-" + time.Now().UTC().Format("20060102T150405.000")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		switch err := os.Rename(path+suffix, aside+suffix); {
		case err == nil:
			before = aside
		case !errors.Is(err, os.ErrNotExist):
			return c, before, errors.Join(err, removeAll(partial))
		}
	}
	return c, before, place(partial, path)
}

// both makes two paths absolute. from must be a regular file.
func both(from, to string) (_, _ string, err error) {
	if from, err = filepath.Abs(from); err != nil {
		return "", "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", "", err
	}
	info, err := os.Stat(from)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", from)
	}
	return from, to, err
}

// duplicate copies a store into a temporary file next to to, which must not exist, accessible
// only for its owner, and checks the copy.
func duplicate(ctx context.Context, from, to string) (partial string, c Copied, err error) {
	if _, err := os.Lstat(to); err == nil {
		return "", c, fmt.Errorf("%s: %w", to, os.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*.partial")
	if err != nil {
		return "", c, err
	}
	partial = f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(f.Name()))
		}
	}()
	source, err := openPool(from, 1, "mode=ro", "_busy_timeout=5000")
	if err = errors.Join(err, f.Close()); err != nil {
		return "", c, err
	}
	_, err = source.ExecContext(ctx, `VACUUM INTO ?`, partial)
	if err = errors.Join(err, source.Close()); err != nil {
		return "", c, err
	}
	c, err = adopt(ctx, partial)
	return partial, c, err
}

// adopt checks a copy, gives it a new name and describes its content.
func adopt(ctx context.Context, path string) (c Copied, err error) {
	db, err := openPool(path, 1, "_journal_mode=DELETE", "_synchronous=FULL")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return c, err
	}
	if verdict != "ok" {
		return c, fmt.Errorf("copy is damaged: %s", verdict)
	}
	if err := set(ctx, db, randomName()); err != nil {
		return c, err
	}
	err = db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM jobs WHERE total > 0), (SELECT count(*) FROM images WHERE end_time = 0),
		(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)`).Scan(&c.Jobs, &c.OpenImages, &c.Bytes)
	return c, err
}

// ReadID returns the ID of the SQLite store in the file at path, whether or not a gateway uses it.
func ReadID(ctx context.Context, path string) (id string, err error) {
	defer wrap(&err, "read the ID of job store %s", path)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	db, err := openPool(path, 1, "mode=ro", "_busy_timeout=5000")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, selectStoreID).Scan(&id)
	return id, err
}

// set renames the store. It fails if the database is not a store.
func set(ctx context.Context, db *sql.DB, id string) error {
	res, err := db.ExecContext(ctx, `UPDATE store SET id = ? WHERE one = 1`, id)
	if err != nil {
		return fmt.Errorf("not a job store: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errors.New("not a job store"), err)
	}
	return nil
}

// place renames the finished file to to, durably, or removes it.
func place(partial, to string) error {
	err := flush(partial)
	if err == nil {
		err = os.Rename(partial, to)
	}
	if err != nil {
		return errors.Join(err, removeAll(partial))
	}
	return flush(filepath.Dir(to))
}

func flush(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// removeAll removes the files of an unfinished copy.
func removeAll(partial string) error {
	var errs []error
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(partial + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
