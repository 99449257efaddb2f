package intake

import (
	"container/heap"
	"container/list"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
)

const (
	// firstShare is the number of concurrent requests of one job to a host that has not answered
	// it yet.
	firstShare = 2
	// firstReturn is the pause of an image after its first 429 or 503, in addition to the pause of
	// its host. It doubles with each further one, up to longReturn: an image that only gets a 503
	// does not delay the others of its host.
	firstReturn = time.Second
	longReturn  = 30 * time.Second
	// deadHost is how long an image waits for a host whose requests are all reset or time out.
	deadHost = time.Minute
	// scanPeriod is the minimum time between two searches for images that have waited too long.
	scanPeriod = 100 * time.Millisecond
	// visitPeriod is the time between two looks at a host that is full of redirects from others.
	visitPeriod = 100 * time.Millisecond
)

// host is a host with waiting or running images.
type host struct {
	*pace.Host
	key     string
	lanes   int       // number of lanes
	parked  list.List // of lanes that wait for a place; the next one is first
	granted int       // number of places that lanes may take
	asking  int       // number of places that lanes hold
	scan    time.Time // when a waiting image may become ready or expire; zero: unknown
	alarm   time.Time // when it is in alarms
	at      int       // index in alarms
}

// lane holds the images of one job on one host.
type lane struct {
	job     *fetchJob
	host    *host
	waiting []target // not requested yet
	again   []target // answered with 429 or 503
	running int
	share   int           // maximum of running: grows with each answer, is halved by each timeout
	parked  *list.Element // nil: its job may start an image
	granted bool
}

// lane returns the job's lane for the host.
func (s *schedule) lane(fj *fetchJob, key string) *lane {
	h := s.hosts[key]
	if h == nil {
		h = &host{Host: s.pace.Open(key, time.Now()), key: key}
		s.hosts[key] = h
	}
	for _, l := range fj.lanes {
		if l.host == h {
			return l
		}
	}
	l := &lane{job: fj, host: h, share: firstShare}
	h.lanes++
	fj.lanes = append(fj.lanes, l)
	return l
}

// take removes the lane's next image if it may start. Otherwise it parks the lane, unless the
// lane waits for its own running images.
func (s *schedule) take(l *lane, now time.Time) (t target, ok bool) {
	if l.parked != nil {
		return t, false
	}
	if l.running >= l.share {
		s.giveBack(l, now)
		return t, false
	}
	free, _ := l.host.Free(now)
	if !l.granted {
		free -= l.host.granted
	}
	if free < 1 || !l.ready(now) {
		s.park(l, now)
		return t, false
	}
	if i := l.due(now); i >= 0 {
		t = l.again[i]
		l.again = slices.Delete(l.again, i, i+1)
		s.limited--
	} else {
		t, l.waiting = l.waiting[0], l.waiting[1:]
	}
	s.ungrant(l)
	l.running++
	l.host.asking++
	l.host.Start(now)
	return t, true
}

// due returns the index of the image in again that was limited first and may be tried again,
// or -1.
func (l *lane) due(now time.Time) int {
	found := -1
	for i, t := range l.again {
		if !now.Before(t.notBefore) && (found < 0 || t.since.Before(l.again[found].since)) {
			found = i
		}
	}
	return found
}

func (l *lane) ready(now time.Time) bool { return len(l.waiting) > 0 || l.due(now) >= 0 }

// park lets the lane wait until its host grants it a place.
func (s *schedule) park(l *lane, now time.Time) {
	wasNext := l.granted
	s.ungrant(l)
	if len(l.waiting)+len(l.again) == 0 {
		return
	}
	if wasNext {
		l.parked = l.host.parked.PushFront(l)
	} else {
		l.parked = l.host.parked.PushBack(l)
	}
	s.scanAt(l.host, s.event(l, now))
	s.grant(l.host, now)
}

func (s *schedule) unpark(l *lane) {
	if l.parked != nil {
		l.host.parked.Remove(l.parked)
		l.parked = nil
	}
}

func (s *schedule) ungrant(l *lane) {
	if l.granted {
		l.granted = false
		l.host.granted--
	}
}

// giveBack returns the place that was granted to a lane that may not use it now.
func (s *schedule) giveBack(l *lane, now time.Time) {
	if l.granted {
		s.ungrant(l)
		s.grant(l.host, now)
	}
}

// grant grants the free places of a host to the lanes that have waited longest.
func (s *schedule) grant(h *host, now time.Time) {
	if h.parked.Len() == 0 {
		return
	}
	free, at := h.Free(now)
	for e := h.parked.Front(); e != nil && h.granted < free; {
		l := e.Value.(*lane)
		e = e.Next()
		if l.ready(now) {
			s.unpark(l)
			l.granted = true
			h.granted++
			s.queue(l.job)
		}
	}
	if free == 0 && at.IsZero() && h.asking == 0 {
		at = now.Add(visitPeriod)
	}
	s.alarmAt(h, at)
}

// leave ends the task's use of its host.
func (s *schedule) leave(t *task, prompt bool) {
	l := t.lane
	if l == nil {
		return
	}
	t.lane = nil
	t.job.prompt = prompt
	if prompt {
		l.share++
	} else {
		l.share = max(1, l.share/2)
	}
	l.running--
	l.host.asking--
	now := time.Now()
	l.host.Done()
	if since, status := l.host.Silence(); !since.IsZero() {
		s.scanAt(l.host, since.Add(s.maxSilence(status)))
	}
	s.grant(l.host, now)
	s.queue(l.job)
	s.close(l, now)
	s.signal()
}

// postpone returns the task's image to the schedule to wait for a host: that of its URL or of a
// redirect, which answered 429 or 503 or, with status 0, has no place. It returns false if the
// image has waited too long.
func (s *schedule) postpone(t *task, key string, status int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	again := t.target
	if again.times == 0 && status != 0 {
		again.since = now
	}
	if again.times > 0 && now.Sub(again.since) >= s.maxWait {
		return false
	}
	if t.job.gone {
		return true
	}
	if s.urlBytes+again.bytes() > maxURLBytes {
		again.url, again.name = "", ""
	}
	s.urlBytes += again.bytes()
	l := s.lane(t.job, key)
	if status != 0 {
		s.limit(l, &again, status, now)
	}
	if again.times > 0 {
		l.again = append(l.again, again)
		s.limited++
	} else {
		l.waiting = slices.Insert(l.waiting, 0, again)
	}
	t.job.waiting++
	s.scanAt(l.host, s.event(l, now))
	s.queue(t.job)
	return true
}

// limit sets when an image that was answered with 429 or 503 may be tried again.
func (s *schedule) limit(l *lane, t *target, status int, now time.Time) {
	pause := min(firstReturn<<min(t.times, 10), longReturn)
	t.times++
	t.status = status
	t.notBefore = now.Add(pause*3/4 + rand.N(pause/2))
	if _, at := l.host.Free(now); !at.IsZero() {
		t.notBefore = t.notBefore.Add(at.Sub(now))
	}
}

// event returns the next time at which an image of the lane becomes ready or expires, or zero.
func (s *schedule) event(l *lane, now time.Time) (first time.Time) {
	earlier := func(at time.Time) {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	silent, status := l.host.Silence()
	expires := func(t target) {
		if at := s.expiry(t, silent, status); at.After(now) {
			earlier(at)
		} else if !at.IsZero() {
			earlier(now.Add(scanPeriod))
		}
	}
	for _, t := range l.again {
		earlier(t.notBefore)
		expires(t)
	}
	if len(l.waiting) > 0 {
		expires(l.waiting[0]) // they were all added together
	}
	return first
}

// expiry returns when the image has waited too long, or zero if it may wait. An image that was
// answered with 429 or 503 may wait for maxWait. Another one waits as long as its host answers
// any request.
func (s *schedule) expiry(t target, silent time.Time, status int) time.Time {
	switch {
	case t.times > 0:
		return t.since.Add(s.maxWait)
	case silent.IsZero():
		return time.Time{}
	case silent.After(t.since):
		return silent.Add(s.maxSilence(status))
	}
	return t.since.Add(s.maxSilence(status))
}

// maxSilence returns how long an image waits for a host that answers no request, or only with this
// status. If all requests are reset or time out, it is the time that a download may take.
func (s *schedule) maxSilence(status int) time.Duration {
	if status == 0 {
		return min(s.maxWait, deadHost)
	}
	return s.maxWait
}

// expire moves the images that have waited too long to their job's list of expired images.
func (s *schedule) expire(l *lane, now time.Time) {
	silent, status := l.host.Silence()
	if silent.IsZero() && len(l.again) == 0 {
		return
	}
	late := func(t target) bool {
		at := s.expiry(t, silent, status)
		if at.IsZero() || now.Before(at) {
			return false
		}
		if t.times == 0 {
			t.status = status
		}
		l.job.expired = append(l.job.expired, t)
		return true
	}
	before := len(l.again)
	l.again = slices.DeleteFunc(l.again, late)
	s.limited -= before - len(l.again)
	l.waiting = slices.DeleteFunc(l.waiting, late)
	if len(l.job.expired) > 0 {
		s.queue(l.job)
	}
}

// discard removes the waiting images of a lane.
func (s *schedule) discard(l *lane, now time.Time) {
	for _, t := range append(l.again, l.waiting...) {
		s.urlBytes -= t.bytes()
	}
	s.limited -= len(l.again)
	l.again, l.waiting = nil, nil
	s.giveBack(l, now)
	s.close(l, now)
}

// close removes a lane without images, and its host after its last lane.
func (s *schedule) close(l *lane, now time.Time) {
	if l.running+len(l.waiting)+len(l.again) > 0 {
		return
	}
	s.unpark(l)
	s.ungrant(l)
	i := slices.Index(l.job.lanes, l)
	if i < 0 {
		return
	}
	l.job.lanes = slices.Delete(l.job.lanes, i, i+1)
	h := l.host
	if h.lanes--; h.lanes > 0 {
		return
	}
	if !h.alarm.IsZero() {
		heap.Remove(&s.alarms, h.at)
	}
	h.Close(now)
	delete(s.hosts, h.key)
}

// scanAt searches the host for expired images at that time.
func (s *schedule) scanAt(h *host, at time.Time) {
	if !at.IsZero() && (h.scan.IsZero() || at.Before(h.scan)) {
		h.scan = at
		s.alarmAt(h, at)
	}
}

// alarmAt looks at the host again at that time, or earlier.
func (s *schedule) alarmAt(h *host, at time.Time) {
	switch {
	case at.IsZero():
	case h.alarm.IsZero():
		h.alarm = at
		heap.Push(&s.alarms, h)
	case at.Before(h.alarm):
		h.alarm = at
		heap.Fix(&s.alarms, h.at)
	}
}

// ring looks at the hosts whose time has come.
func (s *schedule) ring(now time.Time) {
	for len(s.alarms) > 0 && !now.Before(s.alarms[0].alarm) {
		h := heap.Pop(&s.alarms).(*host)
		h.alarm = time.Time{}
		if !h.scan.IsZero() && !now.Before(h.scan) {
			h.scan = time.Time{}
			s.search(h, now)
		}
		if h.lanes > 0 {
			s.alarmAt(h, h.scan)
			s.grant(h, now)
		}
	}
}

// search searches the lanes of a host for expired images.
func (s *schedule) search(h *host, now time.Time) {
	var next time.Time
	for e := h.parked.Front(); e != nil; {
		l := e.Value.(*lane)
		e = e.Next()
		s.expire(l, now)
		if at := s.event(l, now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		s.close(l, now)
	}
	if soonest := now.Add(scanPeriod); !next.IsZero() && next.Before(soonest) {
		next = soonest
	}
	if h.lanes > 0 {
		s.scanAt(h, next)
	}
}

// alarms is a heap of hosts by the time at which they are looked at again.
type alarms []*host

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].alarm.Before(a[j].alarm) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].at, a[j].at = i, j
}

func (a *alarms) Push(x any) {
	h := x.(*host)
	h.at = len(*a)
	*a = append(*a, h)
}

func (a *alarms) Pop() any {
	old := *a
	h := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	return h
}
