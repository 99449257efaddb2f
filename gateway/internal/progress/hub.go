// Package progress delivers the progress of jobs to watchers.
//
// A watcher first receives the current state of the job, then every change in the order of
// the job's revisions, and finally the job's end. Events are derived from the job store and
// never from change notifications, so lost, repeated and late notifications can only delay an
// event: watched jobs are read again every few seconds and whenever notifications may have
// been lost. Each change is read once for all watchers of its job.
//
// A slow watcher misses only intermediate counters: it receives each image once, together
// with the newest counters. Its pending events are part of a list that all watchers of the
// job share and that is no longer than the job's history, so this package never disconnects a
// slow watcher; the code that writes to the client has a timeout for that. An idle watch runs
// no goroutine.
//
// The package does not depend on HTTP. It keeps no state across processes: a client that
// reconnects receives the current state of the job, or what happened after a revision.
package progress

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Errors of a Hub and its watchers.
var (
	// ErrFull is returned when the maximum number of watchers is reached.
	ErrFull = errors.New("too many watchers")
	// ErrGone is returned when the job was deleted while it was watched.
	ErrGone = errors.New("watched job is gone")
	// ErrClosed is returned when the Hub has stopped.
	ErrClosed = errors.New("progress hub is closed")
)

// Config sets the limits of a Hub. A zero field means its default.
type Config struct {
	MaxWatchers int           // maximum number of watchers; 10,000
	Reread      time.Duration // interval of re-reads, which make up for lost change notifications; 5 s
}

// Limits on reads of the store.
const (
	readers  = 4
	readTime = 5 * time.Second
)

// startAtOnce is the number of goroutines that are started for watchers before they get a turn.
const startAtOnce = 64

// changes is the part of the job store that a Hub reads.
type changes interface {
	Changes(ctx context.Context, id string, after int64) (*job.Job, error)
}

// Hub manages the watchers of all jobs.
type Hub struct {
	config Config
	jobs   changes
	log    *slog.Logger
	reads  *telemetry.Counter
	events *telemetry.Counter
	wake   chan struct{} // one token for each reader that has something to do

	mu       sync.Mutex // guards the fields below and the watches themselves
	watches  map[string]*watch
	watchers int
	urgent   []*watch // read next: a change notification arrived, or a watcher waits
	routine  []*watch // read again when no watch is urgent
	closed   bool
}

// New returns a Hub. It is idle until Run.
func New(c Config, jobs changes, log *slog.Logger, m *telemetry.Registry) *Hub {
	c.MaxWatchers, c.Reread = cmp.Or(c.MaxWatchers, 10_000), cmp.Or(c.Reread, 5*time.Second)
	h := &Hub{
		config: c, jobs: jobs, log: log, wake: make(chan struct{}, readers), watches: map[string]*watch{},
		reads:  m.Counter("progress_reads_total", "Reads of watched jobs, by outcome.", "outcome").From0("ok", "gone", "error"),
		events: m.Counter("progress_events_total", "Events sent to watchers, each a message of a WebSocket or an event stream, by kind.", "kind").From0(string(Progress), string(ImageComplete), string(JobComplete)),
	}
	m.GaugeFunc("progress_watchers", "Clients that watch a job.", func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(h.watchers)
	})
	return h
}

// Run reads jobs for the watchers until ctx is done. Then it ends every watch with ErrClosed.
func (h *Hub) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() { h.read(ctx) })
	}
	again := time.NewTicker(h.config.Reread)
	defer again.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-again.C:
			h.reread()
		}
	}
	wg.Wait()
	h.close()
}

func (h *Hub) close() {
	var after []calls
	h.mu.Lock()
	h.closed = true
	for id, w := range h.watches {
		after = append(after, w.end(ErrClosed))
		delete(h.watches, id)
	}
	h.urgent, h.routine = nil, nil
	h.mu.Unlock()
	for _, c := range after {
		c.start()
	}
}

// Receive handles a broadcast of the topic pipeline.JobEvents.
func (h *Hub) Receive(body []byte) {
	var n pipeline.ChangeNotification
	if err := json.Unmarshal(body, &n); err != nil {
		h.log.Warn("unreadable change notification", "error", err)
		return
	}
	h.Notify(n)
}

// Notify handles the notification that a job has reached a revision. It never blocks.
func (h *Hub) Notify(n pipeline.ChangeNotification) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.watches[n.JobID]
	if w == nil || n.Revision <= w.notified || w.last != nil && n.Revision <= w.last.job.Revision {
		return // the job has no watcher, or the revision is not newer
	}
	w.notified = n.Revision
	h.enqueue(w, urgent)
}

// Resumed reports that notifications may have been lost: every watched job is read again.
func (h *Hub) Resumed() { h.reread() }

func (h *Hub) reread() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.watches {
		if w.last == nil || !w.last.job.Status.Ended() {
			h.enqueue(w, routine)
		}
	}
}

// enqueue queues a read of w. If w is being read, the new read waits for the end of that one,
// which may have started too early to see the change.
func (h *Hub) enqueue(w *watch, u urgency) {
	if u <= w.queued {
		return
	}
	w.queued = u
	if w.reading {
		return
	}
	if u == urgent {
		h.urgent = append(h.urgent, w)
	} else if !w.listed {
		w.listed = true
		h.routine = append(h.routine, w)
	}
	select {
	case h.wake <- struct{}{}:
	default: // there is a token for every reader
	}
}

// dequeue returns the next watch to read, or nil.
func (h *Hub) dequeue() *watch {
	for len(h.urgent) > 0 {
		w := h.urgent[0]
		h.urgent[0], h.urgent = nil, h.urgent[1:]
		if w.queued == urgent && !w.reading {
			return w
		}
	}
	for len(h.routine) > 0 {
		w := h.routine[0]
		h.routine[0], h.routine = nil, h.routine[1:]
		w.listed = false
		if w.queued == routine && !w.reading { // otherwise it has become urgent
			return w
		}
	}
	return nil
}

// read is one reader: it reads queued watches until ctx is done.
func (h *Hub) read(ctx context.Context) {
	for {
		h.mu.Lock()
		w := h.dequeue()
		if w == nil || ctx.Err() != nil {
			h.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
				continue
			}
		}
		w.queued = idle
		if w.watchers == 0 { // all watchers were closed while it was queued
			h.mu.Unlock()
			continue
		}
		w.reading = true
		wanted := w.wanted
		w.wanted = nil
		var after int64
		if wanted == nil && w.last != nil {
			after = w.last.job.Revision
		}
		h.mu.Unlock()

		readCtx, cancel := context.WithTimeout(ctx, readTime)
		j, err := h.jobs.Changes(readCtx, w.id, after)
		cancel()
		h.done(ctx, w, wanted, j, err).start()
	}
}

// done applies the result of a read. The caller starts the calls.
func (h *Hub) done(ctx context.Context, w *watch, wanted *snapshot, j *job.Job, err error) (after calls) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.reading = false
	switch {
	case err == nil:
		h.reads.Inc("ok")
		after = w.advance(j)
		wanted.take(w, j)
	case errors.Is(err, job.ErrNotFound):
		h.reads.Inc("gone")
		wanted.fail(err)
		w.wanted.fail(err) // for watchers that subscribed during the read
		w.wanted = nil
		after = w.end(ErrGone)
		h.forget(w)
		return after
	default:
		h.reads.Inc("error")
		wanted.fail(err)
		if ctx.Err() == nil {
			h.log.WarnContext(ctx, "reading a watched job failed", "job_id", w.id, "error", err)
		}
	}
	if u := w.queued; u != idle { // queued again during the read
		w.queued = idle
		if w.wanted != nil || w.last == nil || w.notified > w.last.job.Revision || u == routine {
			h.enqueue(w, u)
		}
	}
	return after
}

// forget removes a watch from the table, unless it has been replaced.
func (h *Hub) forget(w *watch) {
	if h.watches[w.id] == w {
		delete(h.watches, w.id)
	}
}
