// Package durable makes names on disk survive a power failure.
package durable

import (
	"errors"
	"os"
	"runtime"
)

// SyncFolder writes the names of the folder to disk: after it, a file that was created in the folder or renamed into it
// is still there after a power failure, if its content was synced before. Windows has no such call and does without.
func SyncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
