package progress

import (
	"context"
	"fmt"

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

	ready context.Context // done when next or over is set, which happens once
	close context.CancelFunc
	next  *node
	over  error

	progress, complete encoding
	images             []encoding // of ended
}

func newNode(j *job.Job, ended []job.Image) *node {
	n := &node{job: *j, ended: ended, images: make([]encoding, len(ended))}
	n.job.Images = nil
	n.ready, n.close = context.WithCancel(context.Background())
	return n
}

// advance adds a step if the job that was read is newer.
func (w *watch) advance(j *job.Job) {
	switch {
	case w.over:
	case w.last == nil:
		w.last = newNode(j, nil)
	case j.Revision > w.last.job.Revision:
		n := newNode(j, endedAfter(j, w.last.job.Revision))
		w.last.next = n
		w.last.close()
		w.last = n
	}
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

// end ends the watch for all its watchers.
func (w *watch) end(err error) {
	if w.over {
		return
	}
	w.over = true
	w.wanted.fail(err)
	w.wanted = nil
	if w.last != nil {
		w.last.over = err
		w.last.close()
	}
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
