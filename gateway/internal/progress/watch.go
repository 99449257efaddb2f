package progress

import (
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// urgency is how soon a watch is to be read.
type urgency int

const (
	idle urgency = iota
	routine
	urgent
)

// watch is one job and all that watch it. The Hub's mutex guards it.
type watch struct {
	id       string
	watchers int
	last     *node // the newest; nil before the first read
	notified int64 // the highest revision that a hint told of
	queued   urgency
	listed   bool // among the routine reads, perhaps no longer for one
	reading  bool
	wanted   *snapshot // to be taken by the next read that begins; nil when nobody waits
	over     bool
}

// node is a step in the life of a watched job. The steps are a list of which
// the watch holds the last and every watcher the one that it has seen, so that
// what all have seen is garbage.
type node struct {
	job   job.Job     // after the step, without its images
	ended []job.Image // by the step, in order of revision

	ready chan struct{} // closed when one of these is set, once and for all
	next  *node
	over  error
}

func newNode(j *job.Job, ended []job.Image) *node {
	n := &node{job: *j, ended: ended, ready: make(chan struct{})}
	n.job.Images = nil
	return n
}

// advance adds a step, if what was read is news.
func (w *watch) advance(j *job.Job) {
	switch {
	case w.over:
	case w.last == nil:
		w.last = newNode(j, nil)
	case j.Revision > w.last.job.Revision:
		n := newNode(j, endedAfter(j, w.last.job.Revision))
		w.last.next = n
		close(w.last.ready)
		w.last = n
	}
}

// endedAfter returns the images that ended after the revision. They never change
// again, so that each is in one step only.
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
		close(w.last.ready)
	}
}

// snapshot is the job as one read found it, for all watchers that waited for
// that read to begin.
type snapshot struct {
	done  chan struct{} // closed when the rest is set
	err   error
	at    *node       // what comes after this is news
	ended []job.Image // until then, in order of revision
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
