package progress

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// urgency is how soon a watch must be read.
type urgency int

const (
	idle urgency = iota
	routine
	urgent
)

// watch is a watched job and its watchers. The Hub's mutex guards it.
type watch struct {
	id       string
	watchers int
	last     *node // newest step; nil before the first read
	notified int64 // highest revision in a change notification
	queued   urgency
	listed   bool // in Hub.routine, even if no longer queued as routine
	reading  bool
	wanted   *snapshot // filled by the next read that starts; nil without waiting watchers
	over     bool
}

// node is one step in the history of a watched job. The steps form a linked list. The watch
// references the last one and every watcher the one it has seen, so the garbage collector
// frees the steps that all watchers have seen.
type node struct {
	job   job.Job     // after the step, without its images
	ended []job.Image // images that ended in the step, by revision

	ready chan struct{} // closed when next or over is set, which happens once
	next  *node
	over  error

	progress, complete encoding
	images             []encoding // of ended

	mu    sync.Mutex // guards after
	after calls      // when ready is closed; nil from then on
}

func newNode(j *job.Job, ended []job.Image) *node {
	n := &node{job: *j, ended: ended, ready: make(chan struct{}), after: calls{}, images: make([]encoding, len(ended))}
	n.job.Images = nil
	return n
}

// calls are functions that are called once, in goroutines of their own.
type calls map[*func()]struct{}

// close closes ready, and returns the calls that are due.
func (n *node) close() calls {
	n.mu.Lock()
	defer n.mu.Unlock()
	after := n.after
	n.after = nil
	close(n.ready)
	return after
}

// start starts the calls. It gives the first ones a turn before it starts more: a call usually
// ends without waiting, so that a few stacks are used again and again.
func (c calls) start() {
	n := 0
	for f := range c {
		go (*f)()
		if n++; n%startAtOnce == 0 {
			runtime.Gosched()
		}
	}
}

// advance adds a step if the job that was read is newer. The caller starts the calls.
func (w *watch) advance(j *job.Job) (after calls) {
	switch {
	case w.over:
	case w.last == nil:
		w.last = newNode(j, nil)
	case j.Revision > w.last.job.Revision:
		n := newNode(j, endedAfter(j, w.last.job.Revision))
		w.last.next = n
		after = w.last.close()
		w.last = n
	}
	return after
}

// endedAfter returns the images that ended after the revision. An ended image never changes
// again, so each is in one step only.
func endedAfter(j *job.Job, revision int64) []job.Image {
	var ended []job.Image
	for i := range j.Images {
		if img := &j.Images[i]; img.Status.Ended() && img.Revision > revision {
			ended = append(ended, *img)
		}
	}
	return ended
}

// end ends the watch for all its watchers. The caller starts the calls.
func (w *watch) end(err error) (after calls) {
	if w.over {
		return nil
	}
	w.over = true
	w.wanted.fail(err)
	w.wanted = nil
	if w.last != nil {
		w.last.over = err
		after = w.last.close()
	}
	return after
}

// snapshot is the job as returned by one read, for all watchers that were waiting when that
// read started.
type snapshot struct {
	done  chan struct{} // closed when the fields below are set
	err   error
	at    *node       // later steps are new to the watcher
	ended []job.Image // images that had ended by then, by revision
}

func (s *snapshot) take(w *watch, j *job.Job) {
	if s == nil {
		return
	}
	if w.over {
		s.fail(ErrGone)
		return
	}
	if j.Revision < w.last.job.Revision {
		s.fail(fmt.Errorf("read job %s: %w: revision %d after %d", w.id, job.ErrUnavailable, j.Revision, w.last.job.Revision))
		return
	}
	s.at, s.ended = w.last, endedAfter(j, 0)
	close(s.done)
}

func (s *snapshot) fail(err error) {
	if s != nil {
		s.err = err
		close(s.done)
	}
}
