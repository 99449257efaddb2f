// Package lockfile lets only one process at a time use something, by a lock on a file. The system releases the lock when
// the process ends, however it ends, and the file stays.
package lockfile

import (
	"errors"
	"fmt"
	"os"

	"github.com/gofrs/flock" // BSD-3-Clause. The standard library has no lock that works on Windows and Unix.
)

// ErrHeld means that another process has the lock.
var ErrHeld = errors.New("another imagebatch is using it")

// Lock is a lock that this process has.
type Lock struct{ file *flock.Flock }

// Create creates the file if it does not exist, and locks it.
func Create(path string) (*Lock, error) { return try(flock.New(path)) }

// Open locks a file that exists.
func Open(path string) (*Lock, error) { return try(flock.New(path, flock.SetFlag(os.O_RDWR))) }

func try(file *flock.Flock) (*Lock, error) {
	locked, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file.Path(), errors.Join(err, file.Close()))
	}
	if !locked {
		return nil, errors.Join(fmt.Errorf("%s: %w", file.Path(), ErrHeld), file.Close())
	}
	return &Lock{file}, nil
}

// Close releases the lock.
func (l *Lock) Close() error { return l.file.Close() }
