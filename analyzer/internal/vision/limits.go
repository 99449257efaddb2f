package vision

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ownWait is the longest wait for our own limits within a call. A longer wait is left to the caller, so that an image
// does not block a worker.
const ownWait = 5 * time.Second

// limits are our own limits on requests. The rate is the token bucket of golang.org/x/time/rate with a burst of one, so
// that requests are evenly spaced: services count in windows of their own.
type limits struct {
	slots  chan struct{} // requests in flight
	rate   *rate.Limiter
	perDay int // 0: unlimited

	mu   sync.Mutex // guards the fields below
	day  time.Time  // start of the UTC day that used counts
	used int
}

func newLimits(c Config) *limits {
	l := &limits{slots: make(chan struct{}, max(1, c.Concurrency)), rate: rate.NewLimiter(rate.Inf, 1), perDay: c.RequestsPerDay}
	if c.RequestsPerMinute > 0 {
		l.rate = rate.NewLimiter(rate.Limit(float64(c.RequestsPerMinute)/60), 1)
	}
	return l
}

// acquire waits for a slot. It returns a wait for the caller if none becomes free soon.
func (l *limits) acquire(ctx context.Context) (time.Duration, error) {
	select {
	case l.slots <- struct{}{}:
		return 0, nil
	default:
	}
	timer := time.NewTimer(ownWait)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return 0, nil
	case <-timer.C:
		return ownWait, nil
	case <-ctx.Done():
		return 0, ctx.Err() //nolint:wrapcheck // It is the caller's.
	}
}

func (l *limits) release() { <-l.slots }

// request counts one request and waits until it may be sent. It returns a wait for the caller if that is long; then
// the request is not counted.
func (l *limits) request(ctx context.Context, now time.Time, longest time.Duration) (time.Duration, string, error) {
	if wait := l.takeDay(now); wait > 0 {
		return wait, "CAPTION_REQUESTS_PER_DAY", nil
	}
	r := l.rate.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > longest {
		r.CancelAt(now)
		l.returnDay()
		return wait, "CAPTION_REQUESTS_PER_MINUTE", nil
	}
	if wait == 0 {
		return 0, "", nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, "", nil
	case <-ctx.Done():
		r.CancelAt(now)
		l.returnDay()
		return 0, "", ctx.Err() //nolint:wrapcheck // It is the caller's.
	}
}

// takeDay counts a request of this UTC day. If there is none left, it returns the rest of the day.
func (l *limits) takeDay(now time.Time) time.Duration {
	if l.perDay == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if day := now.UTC().Truncate(24 * time.Hour); !day.Equal(l.day) {
		l.day, l.used = day, 0
	}
	if l.used >= l.perDay {
		return l.day.Add(24 * time.Hour).Sub(now)
	}
	l.used++
	return 0
}

func (l *limits) returnDay() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = max(0, l.used-1)
}
