// Package inbox sends the images that appear in a folder and writes their results into another one.
//
// It guarantees:
//
//   - Each content is sent once. Before a batch is sent, it is in the journal, and after a crash it is sent again with the same
//     idempotency key, for which the gateway returns the job that it has. A file with a content that was sent before, because it
//     was renamed, moved or copied, gets a copy of the result that is in the folder of results. A failed content fails again
//     without being sent.
//   - A file that changes before it was sent completely is not recorded as sent: its content is hashed while it is sent, and the
//     request breaks off if the hash is another one.
//   - A result is written before the journal says so, and the original is moved after that.
//   - What the gateway no longer has, because the job's retention has ended, is reported and not sent again, unless Resend is set.
//
// Files are read once to hash them and once to be sent, one at a time for each batch, and never held in memory. At most
// maxRunning batches are in work at a time. The journal and the state of a scan need memory for each file.
package inbox

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/watchfolder"
)

// Config configures Run. The paths are absolute.
type Config struct {
	In, Out      string
	Done, Failed string // folders for originals; empty: they stay
	Poll         time.Duration
	Once         bool // return when every file has ended
	Resend       bool // send files again, once, that failed or whose results are lost
	NoCaptions   bool // no vision model may see the images
	Report       func(Event)

	// Captions is called once before images are sent that a vision model may see. nil: it is not.
	Captions func(*client.Captions)
}

// Event is something that happened. Report is called by several goroutines, one at a time.
type Event struct {
	Type   EventType `json:"type"`
	Path   string    `json:"path,omitempty"`   // in the folder of images
	Output string    `json:"output,omitempty"` // in the folder of results, or of originals for Moved
	JobID  string    `json:"job_id,omitempty"`
	Files  int       `json:"files,omitempty"` // of Sent and Resumed
	Error  string    `json:"error,omitempty"`
	Counts Counts    `json:"counts"`
}

// EventType is the type of an Event.
type EventType string

// The types of events.
const (
	Scanned   EventType = "scanned"   // the folder was scanned, and the counts have changed
	Resumed   EventType = "resumed"   // a batch of an earlier run goes on
	Sent      EventType = "sent"      // a batch has become a job
	Completed EventType = "completed" // a result was written
	Copied    EventType = "copied"    // the result of the same content was used
	Failed    EventType = "failed"    // the gateway could not process a file
	Lost      EventType = "lost"      // a file was sent, but its result is gone
	Skipped   EventType = "skipped"   // a file changed or vanished before it was sent
	Moved     EventType = "moved"     // an original was moved
	Problem   EventType = "problem"   // a file cannot be read, written or moved now
	Waiting   EventType = "waiting"   // the gateway is not available, or the disk is full
	Working   EventType = "working"   // it is available again
)

// Counts count files: what this run has done, and what there is to do.
type Counts struct {
	Completed int `json:"completed"` // copied ones included
	Failed    int `json:"failed"`
	Lost      int `json:"lost"`
	Cancelled int `json:"cancelled"` // failed ones whose job was cancelled
	Problems  int `json:"problems"`  // files that cannot be read, written or moved now
	Sending   int `json:"sending"`   // files in batches that have not ended
	Ready     int `json:"ready"`     // complete files that are not in a batch
	Waiting   int `json:"waiting"`   // files that may still be written
	Others    int `json:"others"`    // files that are no images

	Uncaptioned int `json:"uncaptioned"` // completed ones that should have a caption and have none
}

const (
	// maxRunning is the number of batches in work at a time: while one is being processed, others are uploaded and downloaded.
	maxRunning = 4
	// maxOpen is the number of batches that have not ended, if files in them cannot be written.
	maxOpen = 100
	// maxBackoff is the longest time after which a batch is tried again.
	maxBackoff = time.Minute
	// metadataKey names the pair of a job's metadata with the idempotency key of its batch.
	metadataKey = "imagebatch_batch"
)

// LocalError is a local file that cannot be written.
type LocalError struct{ Err error }

func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the file.
func (e *LocalError) Unwrap() error { return e.Err }

func local(err error) error {
	if err == nil {
		return nil
	}
	return &LocalError{err}
}

func isLocal(err error) bool {
	_, ok := errors.AsType[*LocalError](err)
	return ok
}

// runner is one call of Run.
type runner struct {
	Config
	gateway *client.Client
	journal *journal.Journal
	folder  *watchfolder.Folder
	watcher *watchfolder.Watcher
	ended   chan ending // of batches

	// Only the goroutine of Run uses the fields up to mu.
	limits   client.Limits
	open     map[string]bool    // batches that have not ended, by key
	retries  []retry            // batches that wait
	attempts map[string]int     // failed ones, by key
	running  int                // batches in work
	ready    []watchfolder.File // found by the last scan
	later    []watchfolder.File // ready, but their content is being sent
	moves    []journal.Record   // ended files that are still in the folder
	next     []journal.File     // the batch that is being put together
	since    time.Time          // when next got its first file
	progress bool               // something was done since the last scan
	sent     map[string]bool    // files that this run has sent, by path, with Resend
	worst    error              // of batches, with Once

	mu       sync.Mutex              // guards the fields below, and calls of Report
	paths    map[string]bool         // files in next, and files of batches that have not ended
	contents map[journal.Digest]bool // the same by content
	problems map[string]string       // by path: files that cannot be read, written or moved
	unread   map[string]string       // the same, as the last scan found
	counts   Counts
	offline  bool
}

// ending is the end of the work on a batch.
type ending struct {
	key string
	err error // the batch is still open
}

// retry is a batch that is tried at a time.
type retry struct {
	key     string
	at      time.Time
	offline bool // it waits for the gateway
}

// Run works until ctx is done or, with Once, until every file has ended. It returns what it has done. With an error, batches
// may be open, which the next run continues.
func Run(ctx context.Context, gateway *client.Client, config Config) (Counts, error) {
	j, err := journal.Open(filepath.Join(config.Out, ".imagebatch.jsonl"))
	if err != nil {
		return Counts{}, local(err)
	}
	r := &runner{
		Config: config, gateway: gateway, journal: j, ended: make(chan ending), watcher: watchfolder.Watch(),
		open: map[string]bool{}, attempts: map[string]int{}, sent: map[string]bool{},
		paths: map[string]bool{}, contents: map[journal.Digest]bool{}, problems: map[string]string{}, unread: map[string]string{},
	}
	r.folder = &watchfolder.Folder{Dir: config.In, Poll: config.Poll, Known: r.known}
	err = r.run(ctx)
	return r.counts, errors.Join(err, r.watcher.Close(), j.Close())
}

func (r *runner) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop(nil)
	for _, b := range r.journal.Batches() {
		files := openFiles(b)
		for _, i := range files {
			r.hold(b.Files[i])
			r.sent[b.Files[i].Path] = true
		}
		r.open[b.Key] = true
		r.retries = append(r.retries, retry{key: b.Key})
		r.report(Event{Type: Resumed, JobID: b.JobID, Files: len(files)}, func(c *Counts) { c.Sending += len(files) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var earliest time.Time // of the next scan
	next, again := time.Now(), false
	for {
		if now := time.Now(); !now.Before(next) {
			if err := r.scan(ctx, now); err != nil {
				return err
			}
			// A scan may take long. After a change that was reported, the second poll follows soon.
			end := time.Now()
			earliest = end.Add(max(watchfolder.Settle, 10*end.Sub(now)))
			next = end.Add(r.Poll)
			if again && earliest.Before(next) {
				next = earliest
			}
			again = false
		}
		r.moveAll()
		if err := r.startBatches(ctx, &workers); err != nil {
			return err
		}
		if r.Once && r.running == 0 && len(r.retries) == 0 && len(r.ready) == 0 && len(r.next) == 0 && r.waiting() == 0 {
			if !r.progress {
				return r.worst
			}
			next = time.Now() // whether this was all
			continue
		}
		if r.worst != nil && !isLocal(r.worst) && r.running == 0 {
			return r.worst
		}
		timer.Reset(time.Until(r.wake(next)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-r.watcher.Changed:
			if again = earliest.Before(next); again {
				next = earliest
			}
		case e := <-r.ended:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := r.batchEnded(e); err != nil {
				return err
			}
		}
	}
}

// wake returns the time of the next scan, or an earlier one at which a batch is tried.
func (r *runner) wake(scan time.Time) time.Time {
	for _, again := range r.retries {
		if again.at.Before(scan) && r.running < maxRunning {
			scan = again.at
		}
	}
	return scan
}

// scan looks for ready files.
func (r *runner) scan(ctx context.Context, now time.Time) error {
	r.moves, r.later, r.progress = r.moves[:0], nil, false
	found, err := r.folder.Scan(ctx, now)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		if r.Once {
			return local(err)
		}
		// A share that is not mounted comes back.
		found = watchfolder.Scan{Problems: []watchfolder.Problem{{Path: ".", Err: err}}}
	}
	r.watcher.Add(found.Folders)
	r.ready = found.Ready
	r.unreadable(found.Problems)
	r.report(Event{Type: Scanned}, func(c *Counts) {
		c.Ready, c.Waiting, c.Others = len(found.Ready), found.Waiting, found.Others
	})
	return nil
}

// known reports whether a file needs no attention. A file that has ended and must still be moved is noted.
func (r *runner) known(f watchfolder.File) bool {
	r.mu.Lock()
	held := r.paths[f.Path]
	r.mu.Unlock()
	if held {
		return true
	}
	rec, ok := r.journal.ByPath(f.Path)
	if !ok || rec.File.Size != f.Size || !rec.File.Time.Equal(f.Time) || rec.Outcome.Status != journal.Completed && r.mayResend(f.Path) {
		return false
	}
	if r.target(rec.Outcome) != "" {
		r.moves = append(r.moves, rec)
	}
	return true
}

// mayResend reports whether a file is sent again that failed or whose result is lost.
func (r *runner) mayResend(path string) bool { return r.Resend && !r.sent[path] }

// startBatches starts batches until enough are in work.
func (r *runner) startBatches(ctx context.Context, workers *sync.WaitGroup) error {
	start := func(key string) {
		r.running++
		workers.Go(func() {
			err := r.work(ctx, key)
			select {
			case r.ended <- ending{key, err}:
			case <-ctx.Done():
			}
		})
	}
	if r.worst != nil && !isLocal(r.worst) {
		return nil
	}
	offline, now := false, time.Now()
	r.retries = slices.DeleteFunc(r.retries, func(again retry) bool {
		if r.running == maxRunning || now.Before(again.at) {
			offline = offline || again.offline
			return false
		}
		start(again.key)
		return true
	})
	for !offline && r.running < maxRunning && len(r.open) < maxOpen {
		key, err := r.newBatch(ctx)
		if err != nil || key == "" {
			return err
		}
		start(key)
	}
	return nil
}

// batchEnded decides what follows the work on a batch. It returns an error that ends the run.
func (r *runner) batchEnded(e ending) error {
	r.running--
	r.progress = true
	r.ready, r.later = append(r.ready, r.later...), nil
	if e.err == nil {
		delete(r.open, e.key)
		delete(r.attempts, e.key)
		r.online()
		return nil
	}
	if isFinal(e.err) {
		return e.err
	}
	if !isLocal(e.err) {
		r.unavailable(e.err)
	}
	if r.Once {
		if !isLocal(e.err) {
			r.retries = nil // The next run continues them.
		}
		if r.worst == nil || isLocal(r.worst) {
			r.worst = e.err
		}
		return nil
	}
	wait := min(maxBackoff, time.Second<<min(r.attempts[e.key], 10))
	r.attempts[e.key]++
	r.retries = append(r.retries, retry{e.key, time.Now().Add(wait), !isLocal(e.err)})
	return nil
}

// isFinal reports whether an error does not end by itself: the gateway refuses the request, or the journal cannot be written.
func isFinal(err error) bool {
	if errors.Is(err, journal.ErrBroken) {
		return true
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	case http.StatusNotFound: // of a proxy whose gateway is restarting
		return false
	}
	return e.Status < http.StatusInternalServerError
}
