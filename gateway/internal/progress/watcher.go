package progress

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Kind is what an event tells.
type Kind string

// The kinds of events.
const (
	Progress      Kind = "progress"       // how far the job is
	ImageComplete Kind = "image_complete" // an image has ended, completed or failed
	JobComplete   Kind = "job_complete"   // the job has ended; nothing comes after it
)

// Event is one thing that happened to a job. Nobody changes what it points to.
type Event struct {
	Kind  Kind
	Job   *job.Job   // as it is now, without its images
	Image *job.Image // that has ended; nil but for ImageComplete
}

// Watcher follows one job. It belongs to one goroutine.
type Watcher struct {
	hub      *Hub
	watch    *watch
	snapshot *snapshot // until the first Next
	at       *node     // what was told so far
	finished bool
	closed   bool
}

// Subscribe begins to watch a job. The job is read after the watch stands, so
// that nothing can happen unseen in between. Errors: [ErrFull], [ErrClosed], those
// of the store, ctx's. The caller closes the Watcher.
func (h *Hub) Subscribe(ctx context.Context, jobID string) (*Watcher, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	if h.watchers >= h.config.MaxWatchers {
		h.mu.Unlock()
		return nil, ErrFull
	}
	w := h.watches[jobID]
	if w == nil {
		w = &watch{id: jobID}
		h.watches[jobID] = w
	}
	h.watchers++
	w.watchers++
	if w.wanted == nil {
		w.wanted = &snapshot{done: make(chan struct{})}
		h.enqueue(w, urgent)
	}
	watcher := &Watcher{hub: h, watch: w, snapshot: w.wanted}
	h.mu.Unlock()

	var err error
	select {
	case <-watcher.snapshot.done:
		err = watcher.snapshot.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		watcher.Close()
		return nil, fmt.Errorf("watch job: %w", err)
	}
	watcher.at = watcher.snapshot.at
	return watcher, nil
}

// Job is the job as it was last told of, without its images.
func (w *Watcher) Job() *job.Job { return &w.at.job }

// Close ends the watch.
func (w *Watcher) Close() {
	if w.closed {
		return
	}
	w.closed = true
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.watchers--
	if w.watch.watchers--; w.watch.watchers == 0 {
		w.hub.forget(w.watch)
	}
}

// Ready is closed when Next has something to tell. It is another channel after
// each Next.
func (w *Watcher) Ready() <-chan struct{} {
	if w.snapshot != nil {
		return w.snapshot.done
	}
	return w.at.ready
}

// Next returns what happened since the last call, which may be nothing; it does
// not wait. After the job's end it returns [io.EOF], and [ErrGone] or [ErrClosed]
// when the watch ended before.
func (w *Watcher) Next() ([]Event, error) {
	if w.finished {
		return nil, io.EOF
	}
	var ended []job.Image
	var told job.Job
	first := w.snapshot != nil
	if first {
		ended, w.snapshot = w.snapshot.ended, nil
	} else {
		told = w.at.job
		if over := w.step(&ended); over != nil && len(ended) == 0 && !visible(&told, &w.at.job) {
			return nil, over
		}
	}
	now := &w.at.job
	var events []Event
	if first || len(ended) == 0 && visible(&told, now) {
		events = append(events, Event{Kind: Progress, Job: now})
	}
	for i := range ended {
		events = append(events, Event{Kind: ImageComplete, Job: now, Image: &ended[i]})
	}
	if now.Status.Ended() {
		events = append(events, Event{Kind: JobComplete, Job: now})
		w.finished = true
	}
	for _, e := range events {
		w.hub.events.Inc(string(e.Kind))
	}
	return events, nil
}

// step goes on to the newest step and collects what ended on the way. It
// returns why there will be no other one, if that is so.
func (w *Watcher) step(ended *[]job.Image) error {
	for {
		select {
		case <-w.at.ready:
		default:
			return nil
		}
		if w.at.over != nil {
			return w.at.over
		}
		w.at = w.at.next
		if len(*ended) == 0 { // mostly there is one step, which all can share
			*ended = slices.Clip(w.at.ended)
		} else {
			*ended = append(*ended, w.at.ended...)
		}
	}
}

// visible reports whether a client can see a difference between two steps.
func visible(a, b *job.Job) bool {
	return a.Status != b.Status || a.Completed != b.Completed || a.Failed != b.Failed
}
