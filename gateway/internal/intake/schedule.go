package intake

import (
	"context"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// A fetch is young for slowAfter: it still counts against the number of fetchers.
// One that lasts longer waits for its origin and costs next to nothing, so it
// makes room for another, up to slowFactor times the fetchers.
const (
	slowAfter  = time.Second
	slowFactor = 8
)

// maxURLBytes bounds the addresses that the schedule keeps in memory. Beyond it
// a job's images are read again when their turn comes.
const maxURLBytes = 32 << 20

// schedule decides whose image is fetched next. Jobs take turns, image by image.
// No job has more than half of the young places, and the last places of all, as
// many as there are fetchers, are for jobs that have none: a hundred tar pits
// of one job leave another its full speed. It is bounded by the open images that
// are admitted.
type schedule struct {
	fetchers int
	wake     chan struct{} // a token when next may have an answer

	mu            sync.Mutex // guards what follows, fetchJobs and tasks included
	jobs          map[string]*fetchJob
	turns         []*fetchJob // those with waiting images, whose turn it is first
	active, young int
	urlBytes      int
}

// fetchJob is a job with images to fetch, under one lease.
type fetchJob struct {
	id, origin    string
	lease         job.Lease
	waiting       []target
	active, young int
	gone          bool                         // lost, stopped, or taken over again under a newer lease
	stopped       bool                         // nobody wants its images any more
	running       map[*task]context.CancelFunc // its fetches under way
}

// target is an image to fetch. Without its URL it is to be read first.
type target struct {
	index     int
	trace     pipeline.TraceID
	url, name string
}

func (t target) bytes() int { return len(t.url) + len(t.name) }

// task is a fetch under way.
type task struct {
	job *fetchJob
	target
	young bool
}

func newSchedule(fetchers int) *schedule {
	return &schedule{fetchers: fetchers, wake: make(chan struct{}, 1), jobs: make(map[string]*fetchJob)}
}

// add schedules the images of a job that are to be fetched. The job's lease
// replaces an older one.
func (s *schedule) add(j *job.Job) {
	fj := &fetchJob{id: j.ID, origin: j.Origin, lease: j.Lease, running: make(map[*task]context.CancelFunc)}
	bytes := 0
	for i := range j.Images {
		if img := &j.Images[i]; img.ToFetch() {
			t := target{index: img.Index, trace: img.TraceID, url: img.URL, name: img.OriginalFilename}
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
			fj.waiting[i].url, fj.waiting[i].name = "", ""
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

// next starts the fetch whose turn it is, if there is one that may start.
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

// begun notes how a fetch is given up. One of a job that was stopped meanwhile is
// given up at once.
func (s *schedule) begun(t *task, giveUp context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.job.stopped {
		giveUp()
		return
	}
	t.job.running[t] = giveUp
}

// aged lets a fetch that lasts make room for another.
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

// done ends a fetch.
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

// drop forgets a job that is no longer ours.
func (s *schedule) drop(fj *fetchJob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(fj)
}

// stop forgets a job whose images nobody wants any more, and gives up its fetches
// that are under way.
func (s *schedule) stop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fj := s.jobs[id]
	if fj == nil {
		return
	}
	s.forget(fj)
	fj.stopped = true
	for _, giveUp := range fj.running {
		giveUp()
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
