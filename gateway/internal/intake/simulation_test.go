package intake

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
)

// simulate runs the schedule against a limiter without a network, until all images have ended or
// the time is over. It returns the number of images that were downloaded and that failed. In a
// synctest bubble, it takes no time.
func simulate(s *schedule, l *limiter, limit time.Duration) (downloaded, failed int) {
	var running sync.WaitGroup
	defer running.Wait()
	var mu sync.Mutex
	end := time.After(limit)
	for !s.empty() {
		t, at := s.next()
		if t != nil {
			running.Go(func() {
				defer s.done(t)
				ok := t.failed == nil && ask(s, l, t)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case ok:
					downloaded++
				case t.failed != nil:
					failed++
				default:
					s.postpone(t, t.lane.host.key, l.status)
				}
			})
			continue
		}
		var due <-chan time.Time
		if !at.IsZero() {
			due = time.After(time.Until(at))
		}
		select {
		case <-s.wake:
		case <-due:
		case <-end:
			return downloaded, failed
		}
	}
	running.Wait()
	return downloaded, failed
}

// ask makes a request as package download does.
func ask(s *schedule, l *limiter, t *task) bool {
	key, started := t.lane.host.key, time.Now()
	if !l.admit() {
		time.Sleep(time.Millisecond)
		var after time.Duration
		if l.retryAfter != "" {
			after, _ = time.ParseDuration(l.retryAfter + "s")
		}
		s.pace.Limited(key, l.address, l.status, after, started, time.Now())
		return false
	}
	time.Sleep(l.takes)
	s.pace.Answered(key, started, time.Now())
	l.leave()
	s.downloaded(t, true)
	return true
}

// TestEveryLimit verifies that every image of a host that limits its clients completes, whichever
// limit the host has and however it rejects requests, and that the host is not asked much more
// often than it permits.
func TestEveryLimit(t *testing.T) {
	for name, limit := range map[string]limits{
		"1 at a time":              {concurrent: 1, takes: 100 * time.Millisecond},
		"4 at a time":              {concurrent: 4, takes: 100 * time.Millisecond},
		"4 at a time, slowly":      {concurrent: 4, takes: 4 * time.Second},
		"10 at a time":             {concurrent: 10, takes: 100 * time.Millisecond},
		"10 a second":              {perSecond: 10, takes: 5 * time.Millisecond},
		"1 a second":               {perSecond: 1, takes: 5 * time.Millisecond},
		"10 a second, evenly":      {spacing: 100 * time.Millisecond, takes: time.Millisecond},
		"4 at a time, 10 a second": {concurrent: 4, perSecond: 10, takes: 50 * time.Millisecond},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			for _, after := range []string{"", "1", "5"} {
				for _, jobs := range []int{1, 20} {
					t.Run(fmt.Sprintf("%s, %d, Retry-After %q, %d jobs", name, status, after, jobs), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							s := newSchedule(32, 10*time.Minute, pace.New(pace.Config{Concurrency: 16}))
							for i := range jobs {
								s.add(fetchable(fmt.Sprint(i), 100/jobs))
							}
							l := &limiter{limits: limit, status: status, retryAfter: after}
							start := time.Now()
							done, failed := simulate(s, l, time.Hour)
							if done != 100 || failed != 0 {
								t.Errorf("%d images were downloaded and %d failed, want 100 and 0", done, failed)
							}
							most := 100
							if status == http.StatusServiceUnavailable && after == "" {
								most = 200 // two in a row may concern only their URLs
							}
							if l.rejected > most {
								t.Errorf("%d requests were rejected, want at most %d", l.rejected, most)
							}
							if s.limited != 0 || len(s.hosts) != 0 || len(s.alarms) != 0 {
								t.Errorf("%d waiting images, %d hosts and %d alarms are left, want none", s.limited, len(s.hosts), len(s.alarms))
							}
							t.Logf("took %v, rejected %d requests", time.Since(start).Round(100*time.Millisecond), l.rejected)
						})
					})
				}
			}
		}
	}
}

// TestManyNamesOfOneServer verifies that images complete whose server has a name for each of them, and limits all of them
// together.
func TestManyNamesOfOneServer(t *testing.T) {
	for name, limit := range map[string]limits{
		"4 at a time": {concurrent: 4, takes: 100 * time.Millisecond},
		"10 a second": {perSecond: 10, takes: 5 * time.Millisecond},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule(32, 10*time.Minute, pace.New(pace.Config{}))
				for i := range 5 {
					s.add(spread(fetchable(fmt.Sprint("job", i), 20)))
				}
				l := &limiter{limits: limit, status: status, address: "192.0.2.7"}
				start := time.Now()
				if done, failed := simulate(s, l, time.Hour); done != 100 || failed != 0 {
					t.Errorf("%s, %d: %d images were downloaded and %d failed, want 100 and 0", name, status, done, failed)
				}
				if l.rejected > 115 {
					t.Errorf("%s, %d: %d requests were rejected, want at most 115", name, status, l.rejected)
				}
				t.Logf("%s, %d: took %v, rejected %d requests", name, status, time.Since(start).Round(100*time.Millisecond), l.rejected)
			})
		}
	}
}

// TestDeadHost verifies that the images of a host that never responds end in about the time that
// one download may take, and that the host is asked less and less.
func TestDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(32, 10*time.Minute, pace.New(pace.Config{}))
		for i := range 10 {
			s.add(fetchable(fmt.Sprint(i), 100))
		}
		var running sync.WaitGroup
		var asked, expired int
		start := time.Now()
		for !s.empty() {
			task, at := s.next()
			switch {
			case task == nil:
				var due <-chan time.Time
				if !at.IsZero() {
					due = time.After(time.Until(at))
				}
				select {
				case <-s.wake:
				case <-due:
				}
			case task.failed != nil:
				expired++
				if want := "Failed to download image: connection failed"; task.failed.Text != want {
					t.Errorf("an image that was not requested failed with %q, want %q", task.failed.Text, want)
				}
				s.done(task)
			default:
				asked++
				running.Go(func() {
					started := time.Now()
					time.Sleep(10 * time.Second)
					s.pace.Broke(task.lane.host.key, pace.Timeout, started, time.Now())
					s.downloaded(task, false)
					s.done(task)
				})
			}
		}
		running.Wait()
		if took := time.Since(start); took > 90*time.Second {
			t.Errorf("the jobs ended after %v, want at most 90 s", took)
		}
		if asked > 30 || asked+expired != 1000 {
			t.Errorf("%d images were requested and %d were not, want at most 30 and all others", asked, expired)
		}
	})
}
