package intake

import (
	"container/heap"
	"container/list"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
)

const (
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
