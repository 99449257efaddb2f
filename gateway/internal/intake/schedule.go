package intake

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// maxURLBytes limits the URLs, headers and names that the schedule keeps in memory. Beyond it, the
// images of a job are read again when their turn comes.
const maxURLBytes = 32 << 20

// schedule decides which image is fetched next, and when: by job and by host.
//
// Jobs take turns, image by image. A job may use half of the places. It may use more if no other
// job has an image that could start and its downloads do not time out, but never the last quarter,
// which is reserved for jobs without a running fetch: a hundred tar pits of one job do not slow
// down another.
//
// Package pace decides how many requests a host gets and when. Jobs take turns on each host, too:
// their images wait in lanes, and a host with a free place grants it to the lane that has
// waited longest. An image whose host answered 429 or 503 returns to its lane, where it occupies
// no place, for at most maxWait.
//
// A job whose images all wait for their hosts is not in turns, so next examines only jobs that
// can use a place. The limit of open images bounds the schedule.
type schedule struct {
	fetchers int
	maxWait  time.Duration
	pace     *pace.Table
	wake     chan struct{} // holds a token when next may return a task

	mu       sync.Mutex // guards the fields below, fetchJobs, tasks, lanes and hosts included
	jobs     map[string]*fetchJob
	turns    []*fetchJob // jobs that may have an image to start; the next one is first
	hosts    map[string]*host
	alarms   alarms
	active   int
	limited  int // waiting images that were answered with 429 or 503
	urlBytes int
}

// fetchJob is a job with images to fetch, under one lease.
type fetchJob struct {
	id, origin string
	lease      job.Lease
	lanes      []*lane  // waiting and running images, by host
	expired    []target // images that have waited too long for their host
	waiting    int      // number of images in lanes and in expired
	active     int
	prompt     bool                         // the last download ended without a timeout
	queued     bool                         // in turns
	gone       bool                         // lost, stopped, or replaced under a newer lease
	stopped    bool                         // cancelled: its images are no longer needed
	running    map[*task]context.CancelFunc // fetches in progress
}

// target is an image to fetch. If its URL is not in memory, it must be read first.
type target struct {
	index     int
	trace     pipeline.TraceID
	url, name string
	headers   job.Headers
	since     time.Time // when it was added, or answered with the first 429 or 503
	status    int       // 429 or 503, if that was the last answer
	times     int       // number of answers of 429 and 503
	notBefore time.Time // when it may be tried again
}

func (t target) bytes() int { return len(t.url) + len(t.name) + len(t.headers) }

// task is a fetch in progress.
type task struct {
	job *fetchJob
	target
	lane   *lane // holds a place of the host; nil when the download has ended
	failed *pipeline.Failure
}

func newSchedule(fetchers int, maxWait time.Duration, hosts *pace.Table) *schedule {
	return &schedule{
		fetchers: fetchers, maxWait: maxWait, pace: hosts, wake: make(chan struct{}, 1),
		jobs: make(map[string]*fetchJob), hosts: make(map[string]*host),
	}
}

// add schedules the job's images that need to be fetched. The job's lease replaces an older
// one.
func (s *schedule) add(j *job.Job) {
	fj := &fetchJob{id: j.ID, origin: j.Origin, lease: j.Lease, running: make(map[*task]context.CancelFunc)}
	now, bytes := time.Now(), 0
	var targets []target
	var keys []string
	for i := range j.Images {
		if img := &j.Images[i]; img.ToFetch() {
			t := target{index: img.Index, trace: img.TraceID, url: img.URL, name: img.OriginalFilename, headers: img.Headers, since: now}
			targets, keys = append(targets, t), append(keys, hostKey(t.url))
			bytes += t.bytes()
		}
	}
	if len(targets) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.jobs[j.ID]; old != nil {
		s.forget(old)
	}
	if s.urlBytes+bytes > maxURLBytes {
		for i := range targets {
			targets[i].url, targets[i].name, targets[i].headers = "", "", ""
		}
		bytes = 0
	}
	s.urlBytes += bytes
	for i, t := range targets {
		l := s.lane(fj, keys[i])
		l.waiting = append(l.waiting, t)
	}
	fj.waiting = len(targets)
	s.jobs[j.ID] = fj
	s.queue(fj)
	s.signal()
}

// hostKey returns the key of the URL's host. The URLs that are never fetched share the empty key.
func hostKey(url string) string {
	u, err := download.Check(url)
	if err != nil {
		return ""
	}
	return pace.Key(u)
}

// queue lets the job take part in the turns.
func (s *schedule) queue(fj *fetchJob) {
	if !fj.queued && !fj.gone && fj.waiting > 0 {
		fj.queued = true
		s.turns = append(s.turns, fj)
	}
}

// next returns the fetch whose turn it is. If none may start, it returns nil and the time at which
// it must be called again, or zero if that depends on an event that fills wake.
func (s *schedule) next() (*task, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.ring(now)
	for _, alone := range []bool{false, true} {
		if t := s.turn(now, alone); t != nil {
			return t, time.Time{}
		}
	}
	if len(s.alarms) == 0 {
		return nil, time.Time{}
	}
	return nil, s.alarms[0].alarm
}

// turn gives each job in turns the opportunity to start an image, until one does. Alone means
// that no job could start an image within its half of the places.
func (s *schedule) turn(now time.Time, alone bool) *task {
	for rotated := 0; rotated < len(s.turns) && s.active < s.fetchers; {
		fj := s.turns[0]
		s.turns = s.turns[1:]
		fj.queued = false
		if fj.gone || fj.waiting == 0 {
			continue
		}
		if !s.mayStart(fj, alone) {
			for _, l := range fj.lanes {
				s.giveBack(l, now)
			}
			s.queue(fj)
			rotated++
			continue
		}
		if t := s.start(fj, now); t != nil {
			s.queue(fj)
			return t
		}
	}
	return nil
}

func (s *schedule) mayStart(fj *fetchJob, alone bool) bool {
	shared := s.active < s.fetchers-s.fetchers/4
	if alone {
		return shared && fj.prompt
	}
	return fj.active == 0 || shared && fj.active < max(2, s.fetchers/2)
}

// start starts one image of the job. If none can start, it returns nil, and the job is queued again
// when one of its hosts has a free place or one of its fetches ends.
func (s *schedule) start(fj *fetchJob, now time.Time) *task {
	t := &task{job: fj}
	for _, l := range fj.lanes {
		if l.parked == nil {
			s.expire(l, now)
		}
	}
	if len(fj.expired) > 0 {
		t.target, fj.expired = fj.expired[0], fj.expired[1:]
		t.failed = download.Limited(s.maxWait, t.status)
	} else {
		for i, l := range fj.lanes {
			if got, ok := s.take(l, now); ok {
				t.target, t.lane = got, l
				copy(fj.lanes[i:], fj.lanes[i+1:]) // the job's next image is one for another host
				fj.lanes[len(fj.lanes)-1] = l
				break
			}
		}
		if t.lane == nil {
			return nil
		}
	}
	fj.waiting--
	fj.active++
	s.active++
	s.urlBytes -= t.bytes()
	if t.lane != nil {
		s.grant(t.lane.host, now)
	}
	return t
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

// downloaded frees the fetch's place on its host. The fetch keeps its own place until it is
// done. Prompt means that the host did not let it time out.
func (s *schedule) downloaded(t *task, prompt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(t, prompt)
}

// done removes a finished fetch.
func (s *schedule) done(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(t, true)
	s.active--
	t.job.active--
	delete(t.job.running, t)
	if t.job.active == 0 && t.job.waiting == 0 {
		s.forget(t.job)
	}
	s.queue(t.job)
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
	for _, t := range fj.expired {
		s.urlBytes -= t.bytes()
	}
	fj.expired, fj.waiting, fj.gone = nil, 0, true
	now := time.Now()
	for _, l := range slices.Clone(fj.lanes) {
		s.discard(l, now)
	}
	if s.jobs[fj.id] == fj {
		delete(s.jobs, fj.id)
	}
}

func (s *schedule) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs) == 0
}

// limitedImages returns the number of images that wait after a 429 or 503.
func (s *schedule) limitedImages() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.limited)
}

func (s *schedule) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
