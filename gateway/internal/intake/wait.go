package intake

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// firstReturn is the pause of an image after its first 429 or 503, in addition to the pause of
	// its host. It doubles with each further one, up to longReturn: an image that only gets a 503
	// does not delay the others of its host.
	firstReturn = time.Second
	longReturn  = 30 * time.Second
	// deadHost is how long an image waits for a host whose requests are all reset or time out.
	deadHost = time.Minute
)

// postpone returns the task's image to the schedule to wait for a host: that of its URL or of a
// redirect, which answered 429 or 503 or, with status 0, has no place. If the image has waited too
// long, its next task fails.
func (s *schedule) postpone(t *task, key string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	again := t.target
	if again.times == 0 && status != 0 {
		again.since = now
	}
	if t.job.gone {
		return
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
