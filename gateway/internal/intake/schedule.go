package intake

import (
	"context"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// A fetch is young for slowAfter and counts against the number of fetchers. After that it is
// waiting for its origin and costs almost nothing, so another fetch may start, up to slowFactor
// times the number of fetchers.
const (
	slowAfter  = time.Second
	slowFactor = 8
)

// maxURLBytes limits the URLs, headers and names that the schedule keeps in memory. Beyond it, the images of
// a job are read again when their turn comes.
const maxURLBytes = 32 << 20

// schedule decides which image is fetched next. Jobs take turns, image by image. No job may
// use more than half of the young slots, and the last slots of all, as many as there are
// fetchers, are reserved for jobs without a running fetch: a hundred tar pits of one job do not
// slow down another. The schedule is bounded by the limit of open images.
type schedule struct {
	fetchers int
	wake     chan struct{} // holds a token when next may return a task

	mu            sync.Mutex // guards the fields below, fetchJobs and tasks included
	jobs          map[string]*fetchJob
	turns         []*fetchJob // jobs with waiting images; the next one is first
	active, young int
	urlBytes      int
}

// fetchJob is a job with images to fetch, under one lease.
type fetchJob struct {
	id, origin    string
	lease         job.Lease
	waiting       []target
	active, young int
	gone          bool                         // lost, stopped, or replaced under a newer lease
	stopped       bool                         // cancelled: its images are no longer needed
	running       map[*task]context.CancelFunc // fetches in progress
}

// target is an image to fetch. If its URL is not in memory, it must be read first.
type target struct {
	index     int
	trace     pipeline.TraceID
	url, name string
	headers   job.Headers
}

func (t target) bytes() int { return len(t.url) + len(t.name) + len(t.headers) }

// task is a fetch in progress.
type task struct {
	job *fetchJob
	target
	young bool
}

func newSchedule(fetchers int) *schedule {
	return &schedule{fetchers: fetchers, wake: make(chan struct{}, 1), jobs: make(map[string]*fetchJob)}
}

// add schedules the job's images that need to be fetched. The job's lease replaces an older
// one.
func (s *schedule) add(j *job.Job) {
	fj := &fetchJob{id: j.ID, origin: j.Origin, lease: j.Lease, running: make(map[*task]context.CancelFunc)}
	bytes := 0
	for i := range j.Images {
		if img := &j.Images[i]; img.ToFetch() {
			t := target{index: img.Index, trace: img.TraceID, url: img.URL, name: img.OriginalFilename, headers: img.Headers}
			fj.waiting = append(fj.waiting, t)
			bytes += t.bytes()
		}
	}
	if len(fj.waiting) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urlBytes+bytes > maxURLBytes {
		for i := range fj.waiting {
			fj.waiting[i].url, fj.waiting[i].name, fj.waiting[i].headers = "", "", ""
		}
		bytes = 0
	}
	s.urlBytes += bytes
	if old := s.jobs[j.ID]; old != nil {
		s.forget(old)
	}
	s.jobs[j.ID] = fj
	s.turns = append(s.turns, fj)
	s.signal()
}

// next returns the fetch whose turn it is, if one may start.
func (s *schedule) next() (*task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range len(s.turns) {
		if s.young >= s.fetchers || s.active >= slowFactor*s.fetchers {
			return nil, false
		}
		fj := s.turns[0]
		s.turns = s.turns[1:]
		if fj.gone || len(fj.waiting) == 0 {
			continue
		}
		if !s.mayStart(fj) {
			s.turns = append(s.turns, fj)
			continue
		}
		t := &task{job: fj, target: fj.waiting[0], young: true}
		fj.waiting = fj.waiting[1:]
		if len(fj.waiting) > 0 {
			s.turns = append(s.turns, fj)
		}
		s.urlBytes -= t.bytes()
		s.active, s.young, fj.active, fj.young = s.active+1, s.young+1, fj.active+1, fj.young+1
		return t, true
	}
	return nil, false
}

func (s *schedule) mayStart(fj *fetchJob) bool {
	if fj.young >= max(1, s.fetchers/2) {
		return false
	}
	reserved := (slowFactor - 1) * s.fetchers
	return s.active < reserved || fj.active == 0
}

// started registers how to cancel a fetch. If its job was stopped in the meantime, the fetch
// is cancelled immediately.
func (s *schedule) started(t *task, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.job.stopped {
		cancel()
		return
	}
	t.job.running[t] = cancel
}

// aged stops counting a slow fetch as young, so that another can start.
func (s *schedule) aged(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(t)
	s.signal()
}

func (s *schedule) age(t *task) {
	if t.young {
		t.young = false
		s.young--
		t.job.young--
	}
}

// done removes a finished fetch.
func (s *schedule) done(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(t)
	s.active--
	t.job.active--
	delete(t.job.running, t)
	if t.job.active == 0 && len(t.job.waiting) == 0 {
		s.forget(t.job)
	}
	s.signal()
}

// drop removes a job that this gateway no longer owns.
func (s *schedule) drop(fj *fetchJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(fj)
}

// stop removes a job whose images are no longer needed, and cancels its running fetches.
func (s *schedule) stop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fj := s.jobs[id]
	if fj == nil {
		return
	}
	s.forget(fj)
	fj.stopped = true
	for _, cancel := range fj.running {
		cancel()
	}
}

func (s *schedule) forget(fj *fetchJob) {
	for _, t := range fj.waiting {
		s.urlBytes -= t.bytes()
	}
	fj.waiting, fj.gone = nil, true
	if s.jobs[fj.id] == fj {
		delete(s.jobs, fj.id)
	}
}

func (s *schedule) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) == 0
}

func (s *schedule) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
