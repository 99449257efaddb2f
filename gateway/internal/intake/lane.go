package intake

import (
	"container/list"
	"slices"
	"time"
)

// firstShare is the number of concurrent requests of one job to a host that has not answered
// it yet.
const firstShare = 2

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
