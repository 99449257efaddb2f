package progress

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Kind is the type of an event.
type Kind string

// The kinds of events.
const (
	Progress      Kind = "progress"       // the job's progress
	ImageComplete Kind = "image_complete" // an image has completed or failed
	JobComplete   Kind = "job_complete"   // the job has ended; this is the last event
)

// Event is a change of a job. Its Job and Image must not be modified.
type Event struct {
	Kind  Kind
	Job   *job.Job   // current state, without its images
	Image *job.Image // the image that has ended; nil unless Kind is ImageComplete

	encoding *encoding // shared by the watchers that get the same event; nil if it is not shared
}

// encoding is an event in the form for clients.
type encoding struct {
	once sync.Once
	data []byte
	err  error
}

// Encode returns the event as encoded by f, which must be the same function for every event.
// Watchers that get the same event share the result of one call.
func (e Event) Encode(f func(Event) ([]byte, error)) ([]byte, error) {
	s := e.encoding
	if s == nil {
		return f(e)
	}
	s.once.Do(func() { s.data, s.err = f(e) })
	return s.data, s.err
}

// Watcher follows one job. It is not safe for concurrent use.
type Watcher struct {
	hub      *Hub
	watch    *watch
	snapshot *snapshot // nil after the first Next
	at       *node     // last step returned by Next
	after    int64     // revision of the job that the client has already
	finished bool
	closed   bool
}

// Subscribe starts to watch a job. The job is read after the watch is registered, so that no
// change in between is missed. It returns [ErrFull], [ErrClosed], an error of the store, or
// ctx's error. The caller closes the Watcher.
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

// Job returns the job as of the last Next or Skip, without its images.
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

// Resume makes the first Next leave out what a client has that received all events up to the
// revision. A revision that the job has not reached counts as 0: the client's revision is
// not of this job.
func (w *Watcher) Resume(revision int64) {
	if revision <= w.at.job.Revision {
		w.after = revision
	}
}

// Ready returns a channel that is closed when Next has events to return. Each Next and each
// Skip replaces the channel.
func (w *Watcher) Ready() <-chan struct{} {
	if w.snapshot != nil {
		return w.snapshot.done
	}
	return w.at.ready
}

// AfterReady calls f in its own goroutine when Next has new events. Until then, it needs no
// goroutine. It is called after the first Next, and again after each later one. As that of
// [context.AfterFunc], stop reports whether it has prevented the call.
func (w *Watcher) AfterReady(f func()) (stop func() bool) {
	n, key := w.at, &f
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.after == nil {
		go f()
	} else {
		n.after[key] = struct{}{}
	}
	return func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		_, waits := n.after[key]
		delete(n.after, key)
		return waits
	}
}

// Next returns the events since the last call, possibly none; it does not wait. After the
// job's end it returns [io.EOF]. If the watch ended earlier, it returns [ErrGone] or
// [ErrClosed].
func (w *Watcher) Next() ([]Event, error) {
	if w.finished {
		return nil, io.EOF
	}
	var ended []job.Image
	var before job.Job
	first := w.snapshot != nil
	if first {
		ended, w.snapshot = w.snapshot.ended, nil
		for len(ended) > 0 && ended[0].Revision <= w.after {
			ended = ended[1:]
		}
	} else {
		before = w.at.job
		if over := w.step(&ended); over != nil && len(ended) == 0 && !visible(&before, &w.at.job) {
			return nil, over
		}
	}
	now := &w.at.job
	var events []Event
	if first && now.Revision > w.after || !first && len(ended) == 0 && visible(&before, now) {
		events = append(events, Event{Kind: Progress, Job: now, encoding: &w.at.progress})
	}
	latest := len(ended) > 0 && len(ended) == len(w.at.ended) && &ended[0] == &w.at.ended[0] // they ended in one step
	for i := range ended {
		e := Event{Kind: ImageComplete, Job: now, Image: &ended[i]}
		if latest {
			e.encoding = &w.at.images[i]
		}
		events = append(events, e)
	}
	if now.Status.Ended() {
		events = append(events, Event{Kind: JobComplete, Job: now, encoding: &w.at.complete})
		w.finished = true
	}
	for _, e := range events {
		w.hub.events.Inc(string(e.Kind))
	}
	return events, nil
}

// Skip moves to the newest state of the job, which Job then returns, without events. If
// the watch ended before it, the error is [ErrGone] or [ErrClosed].
func (w *Watcher) Skip() error {
	w.snapshot = nil
	var ended []job.Image
	return w.step(&ended)
}

// step moves to the newest step and collects the images that ended on the way. It returns the
// reason if no further step can follow.
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
		if len(*ended) == 0 { // Usually there is one step, whose slice all watchers share.
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
