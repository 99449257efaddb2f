package main

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// batch is one request of a plan.
type batch struct {
	after  time.Duration // since the start of the load
	images []source

	key    string        // the Idempotency-Key; "" for none
	again  bool          // it is sent again after it was accepted
	cancel time.Duration // after which it is cancelled; 0 if it is not
	retry  bool          // its failed images are retried
}

// record is what the clients know about one job.
type record struct {
	batch     *batch              // nil until the job is known to be accepted
	accepted  time.Time           // when the response arrived
	end       *jobAnswer          // the job as a reader saw it end
	ended     time.Time           // when a reader polled that end
	told      map[int]imageAnswer // what a watcher was told by the end
	cancelled bool                // its cancelling was confirmed
}

// ledger is what all clients know.
type ledger struct {
	mu      sync.Mutex // guards what follows, and the figures in change
	jobs    map[string]record
	unknown map[string]*batch // requests without a response, by the name of the first image
}

func newLedger() *ledger { return &ledger{jobs: map[string]record{}, unknown: map[string]*batch{}} }

// change calls f alone.
func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// note changes the record of a job.
func (l *ledger) note(id string, f func(*record)) {
	l.change(func() {
		rec := l.jobs[id]
		f(&rec)
		l.jobs[id] = rec
	})
}

// all returns a copy of the records.
func (l *ledger) all() map[string]record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.jobs)
}

// accepted returns the records of the jobs that are known to be accepted.
func (l *ledger) accepted() map[string]record {
	jobs := l.all()
	maps.DeleteFunc(jobs, func(_ string, rec record) bool { return rec.batch == nil })
	return jobs
}

// owner returns the batch of a job, or nil. The job may stem from a request without
// a response, and a retry stems from the batch of the job that it retries.
func (l *ledger) owner(j *jobAnswer) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.jobs[j.JobID].batch; b != nil {
		return b
	}
	if j.RetryOf != "" {
		return retryBatch(l.jobs[j.RetryOf].batch, j.Images)
	}
	if len(j.Images) > 0 {
		return l.unknown[j.Images[0].OriginalFilename]
	}
	return nil
}

// retryBatch returns what a retry of a batch was made of, or nil when it has an
// image that the batch does not have.
func retryBatch(b *batch, images []imageAnswer) *batch {
	if b == nil {
		return nil
	}
	retry := new(batch)
	for _, img := range images {
		i := slices.IndexFunc(b.images, func(s source) bool { return s.name == img.OriginalFilename })
		if i < 0 {
			return nil
		}
		retry.images = append(retry.images, b.images[i])
	}
	return retry
}
