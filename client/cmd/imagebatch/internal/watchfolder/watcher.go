package watchfolder

import (
	"runtime"

	"github.com/fsnotify/fsnotify" // BSD-3-Clause. The standard library cannot report changes of a folder.
)

// maxWatches is the number of folders that a Watcher watches at most. A system has a limited number of watches, which other
// programs need too.
const maxWatches = 1000

// Watcher reports that a folder has probably changed. It may miss changes and report too many.
type Watcher struct {
	// Changed receives a value after a change. It is nil if the system reports no changes.
	Changed chan struct{}

	notify *fsnotify.Watcher
	added  map[string]bool
	done   chan struct{}
}

// Watch returns a Watcher without folders. The caller closes it.
func Watch() *Watcher {
	w := &Watcher{added: map[string]bool{}, done: make(chan struct{})}
	// On macOS and BSD, watching a folder needs an open file for each file in it.
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		return w
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return w
	}
	w.notify, w.Changed = notify, make(chan struct{}, 1)
	go func() {
		defer close(w.done)
		for {
			select {
			case _, ok := <-notify.Events:
				if !ok {
					return
				}
			case _, ok := <-notify.Errors: // an overflow, for example: something has changed
				if !ok {
					return
				}
			}
			select {
			case w.Changed <- struct{}{}:
			default:
			}
		}
	}()
	return w
}

// Add watches the folders too, as far as the system allows it, and no longer watches folders that are not among them.
func (w *Watcher) Add(folders []string) {
	if w.notify == nil {
		return
	}
	exists := make(map[string]bool, len(folders))
	for _, dir := range folders {
		exists[dir] = true
	}
	for dir := range w.added {
		if !exists[dir] {
			_ = w.notify.Remove(dir) // The system has probably removed it.
			delete(w.added, dir)
		}
	}
	for _, dir := range folders {
		if w.added[dir] {
			continue
		}
		if len(w.added) == maxWatches || w.notify.Add(dir) != nil {
			return
		}
		w.added[dir] = true
	}
}

// Close ends the Watcher.
func (w *Watcher) Close() error {
	if w.notify == nil {
		return nil
	}
	err := w.notify.Close()
	<-w.done
	return err
}
