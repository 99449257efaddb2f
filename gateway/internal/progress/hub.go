// Package progress tells watchers how jobs get on.
//
// A watcher first gets the job as it is, then every change, in the order of the
// job's revisions, and last the job's end. Events are made from what the store
// says and never from the hints that a job has changed, so that lost, repeated
// and late hints cost time at most: watched jobs are read again every few
// seconds and whenever hints may have been lost. Each change is read once for all
// watchers of its job.
//
// A slow watcher misses nothing but intermediate counters: each image is told
// once, and the counters that go with it are the newest there are. What waits for
// it is a part of a list that all watchers of the job share and that cannot be
// longer than the job's history, so nobody is ever cut off for being slow here;
// who writes to a client has a timeout for that. Nothing of an idle watch runs.
//
// The package knows no HTTP. It promises nothing across processes: a client that
// comes back gets the job as it is.
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
	// ErrFull says that there are as many watchers as there may be.
	ErrFull = errors.New("too many watchers")
	// ErrGone says that the job was deleted while it was watched.
	ErrGone = errors.New("watched job is gone")
	// ErrClosed says that the Hub has ended.
	ErrClosed = errors.New("progress hub is closed")
)

// Config is what a Hub may do. A field that is zero means its default.
type Config struct {
	MaxWatchers int           // at once; 10,000
	Reread      time.Duration // how long a lost hint can stay unnoticed; 5 s
}

// Bounds on reading the store.
const (
	readers  = 4
	readTime = 5 * time.Second
)

// changes is the part of the job store that a Hub reads.
type changes interface {
	Changes(ctx context.Context, id string, after int64) (*job.Job, error)
}

// Hub knows who watches which job.
type Hub struct {
	config Config
	jobs   changes
	log    *slog.Logger
	reads  *telemetry.Counter
	events *telemetry.Counter
	wake   chan struct{} // one token for each reader that has something to do

	mu       sync.Mutex // guards all below and the watches themselves
	watches  map[string]*watch
	watchers int
	urgent   []*watch // to be read now: a hint came, or a watcher waits
	routine  []*watch // to be read again when there is nothing urgent
	closed   bool
}

// New makes a Hub. It does nothing before Run.
func New(c Config, jobs changes, log *slog.Logger, m *telemetry.Registry) *Hub {
	c.MaxWatchers, c.Reread = cmp.Or(c.MaxWatchers, 10_000), cmp.Or(c.Reread, 5*time.Second)
	h := &Hub{
		config: c, jobs: jobs, log: log, wake: make(chan struct{}, readers), watches: map[string]*watch{},
		reads:  m.Counter("progress_reads_total", "Reads of watched jobs, by outcome.", "outcome").From0("ok", "gone", "error"),
		events: m.Counter("progress_events_total", "Events sent to watchers, each a WebSocket message, by kind.", "kind").From0(string(Progress), string(ImageComplete), string(JobComplete)),
	}
	m.GaugeFunc("progress_watchers", "Clients that watch a job.", func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(h.watchers)
	})
	return h
}

// Run reads for the watchers until ctx ends; then every watch ends with
// ErrClosed.
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
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for id, w := range h.watches {
		w.end(ErrClosed)
		delete(h.watches, id)
	}
	h.urgent, h.routine = nil, nil
}

// Receive takes a broadcast of the topic pipeline.JobEvents.
func (h *Hub) Receive(body []byte) {
	var n pipeline.ChangeNotification
	if err := json.Unmarshal(body, &n); err != nil {
		h.log.Warn("unreadable change notification", "error", err)
		return
	}
	h.Notify(n)
}

// Notify takes the notification that a job has reached a revision. It never blocks.
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

// enqueue gets w read. While it is being read it waits until that is over,
// because what made it worth reading may have come too late for that read.
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
		if w.queued == routine && !w.reading { // else it was urgent meanwhile
			return w
		}
	}
	return nil
}

// read is one reader: it reads what is queued until ctx ends.
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
		if w.watchers == 0 { // they left while it was queued
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
		h.done(ctx, w, wanted, j, err)
	}
}

// done takes in what a read gave.
func (h *Hub) done(ctx context.Context, w *watch, wanted *snapshot, j *job.Job, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.reading = false
	switch {
	case err == nil:
		h.reads.Inc("ok")
		w.advance(j)
		wanted.take(w, j)
	case errors.Is(err, job.ErrNotFound):
		h.reads.Inc("gone")
		wanted.fail(err)
		w.wanted.fail(err) // who came during the read watches nothing yet
		w.wanted = nil
		w.end(ErrGone)
		h.forget(w)
		return
	default:
		h.reads.Inc("error")
		wanted.fail(err)
		if ctx.Err() == nil {
			h.log.WarnContext(ctx, "watched job not read", "job_id", w.id, "error", err)
		}
	}
	if u := w.queued; u != idle { // something came during the read
		w.queued = idle
		if w.wanted != nil || w.last == nil || w.notified > w.last.job.Revision || u == routine {
			h.enqueue(w, u)
		}
	}
}

// forget drops a watch from the table, if it is still the one of its job.
func (h *Hub) forget(w *watch) {
	if h.watches[w.id] == w {
		delete(h.watches, w.id)
	}
}
