// Package unfinished names the files that a run is writing, and removes those of earlier runs that were killed.
//
// The names are .imagebatch-RUN-FILE.tmp, with two random parts. As long as a run lives, it has a lock on the file
// .imagebatch-RUN.lock in its folder, and at its end it removes that file. So a lock file without a lock belongs to a
// run that was killed, and only the files with its name are removed: not those of a run that is writing to the same
// folder now, and none of any other program.
//
// On a file system without locks, a killed run leaves its files.
package unfinished

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/lockfile"
)

const prefix = ".imagebatch-"

var (
	lockName = regexp.MustCompile(`^\.imagebatch-([A-Z2-7]{10})\.lock$`)
	fileName = regexp.MustCompile(`^\.imagebatch-([A-Z2-7]{10})-[A-Z2-7]{10}\.tmp$`)
)

// Run is a run that writes files. Its methods may be called concurrently.
type Run struct {
	id, path string
	lock     *lockfile.Lock // nil: the file system has no locks
}

// Start removes what runs that were killed have left in the folder, and if below is true in its subfolders, and starts a
// run. The caller closes it when it has removed or renamed its files.
func Start(folder *os.Root, below bool) *Run {
	clean(folder, below)
	for {
		r := &Run{id: rand.Text()[:10]}
		r.path = lockPath(folder, r.id)
		var err error
		r.lock, err = lockfile.Create(r.path)
		switch _, gone := os.Lstat(r.path); {
		case errors.Is(err, lockfile.ErrHeld), err == nil && errors.Is(gone, fs.ErrNotExist):
			// Another run has taken the new file for one of a killed run.
			if r.lock != nil {
				_ = r.lock.Close() // Its file is gone.
			}
		case err != nil:
			_ = os.Remove(r.path) // Without a lock, it would say that the run was killed.
			return r
		default:
			return r
		}
	}
}

// Name returns a name for a file that is being written, without a folder.
func (r *Run) Name() string { return prefix + r.id + "-" + rand.Text()[:10] + ".tmp" }

// Close ends the run.
func (r *Run) Close() error {
	if r.lock == nil {
		return nil
	}
	err := r.lock.Close() // Windows removes no file that is open.
	if gone := os.Remove(r.path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func lockPath(folder *os.Root, id string) string {
	return filepath.Join(folder.Name(), prefix+id+".lock")
}

// clean removes the files of runs that were killed. What cannot be removed stays, together with the lock file, so that a
// later run tries again.
func clean(folder *os.Root, below bool) {
	entries, err := fs.ReadDir(folder.FS(), ".")
	if err != nil {
		return
	}
	killed := map[string]*lockfile.Lock{}
	for _, e := range entries {
		found := lockName.FindStringSubmatch(e.Name())
		if found == nil || !e.Type().IsRegular() {
			continue
		}
		if lock, err := lockfile.Open(lockPath(folder, found[1])); err == nil {
			killed[found[1]] = lock
		}
	}
	if len(killed) == 0 {
		return
	}
	err = fs.WalkDir(folder.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // It cannot be read, and this run cannot write to it.
		case e.IsDir() && name != "." && !below:
			return fs.SkipDir
		}
		if found := fileName.FindStringSubmatch(e.Name()); found != nil && e.Type().IsRegular() && killed[found[1]] != nil {
			return folder.Remove(name)
		}
		return nil
	})
	for id, lock := range killed {
		_ = lock.Close() // The file is not written to.
		if err == nil {
			_ = os.Remove(lockPath(folder, id)) // Otherwise the next run finds no files of it.
		}
	}
}
