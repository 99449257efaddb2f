package inbox

import (
	"maps"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/watchfolder"
)

// report changes the counts and passes the event on. A scan that changes no count is no event.
func (r *runner) report(e Event, change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.counts
	change(&r.counts)
	if e.Type == Scanned && before == r.counts {
		return
	}
	e.Counts = r.counts
	r.Report(e)
}

func (*runner) uncounted(*Counts) {}

// problem reports a file that cannot be read, written or moved, once for each text.
func (r *runner) problem(path string, err error) {
	r.mu.Lock()
	reported := r.problems[path] == err.Error()
	r.problems[path] = err.Error()
	r.mu.Unlock()
	if !reported {
		r.report(Event{Type: Problem, Path: path, Error: err.Error()}, r.countProblems)
	}
}

// solved forgets the problem of a file.
func (r *runner) solved(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.problems, path)
	r.countProblems(&r.counts)
}

// unreadable replaces the problems of the last scan and reports new ones.
func (r *runner) unreadable(list []watchfolder.Problem) {
	now := map[string]string{}
	for _, p := range list {
		now[p.Path] = p.Err.Error()
	}
	r.mu.Lock()
	before := r.unread
	r.unread = now
	maps.DeleteFunc(r.problems, func(path, _ string) bool { return now[path] != "" }) // counted once
	r.mu.Unlock()
	for _, p := range list {
		if before[p.Path] != p.Err.Error() {
			r.report(Event{Type: Problem, Path: p.Path, Error: p.Err.Error()}, r.countProblems)
		}
	}
}

// countProblems is called with mu held.
func (r *runner) countProblems(c *Counts) { c.Problems = len(r.problems) + len(r.unread) }

// unavailable reports that the gateway cannot be reached, once.
func (r *runner) unavailable(err error) {
	r.mu.Lock()
	reported := r.offline
	r.offline = true
	r.mu.Unlock()
	if !reported {
		r.report(Event{Type: Waiting, Error: err.Error()}, r.uncounted)
	}
}

// online reports that the gateway can be reached again.
func (r *runner) online() {
	r.mu.Lock()
	reported := !r.offline
	r.offline = false
	r.mu.Unlock()
	if !reported {
		r.report(Event{Type: Working}, r.uncounted)
	}
}

// waiting returns the number of files that may still be written.
func (r *runner) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts.Waiting
}

// hold notes a file that needs no attention while it is in a batch.
func (r *runner) hold(f journal.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths[f.Path], r.contents[f.SHA256] = true, true
}

// release forgets a file that has ended.
func (r *runner) release(f journal.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.paths, f.Path)
	delete(r.contents, f.SHA256)
}
