package telemetry

import (
	"context"
	"sync"
	"time"
)

const (
	readTime = time.Second
	// A failure is kept for the rest of a scrape, whose gauges may wait for other reads, and not until the next scrape.
	failureTime = 3 * time.Second
)

// Limited returns a function for gauges that calls read and waits for it for at most a second, even if read ignores its
// context. After a failure, it returns the same error for three seconds instead of calling read again. So all gauges that share read
// delay a scrape by one second while a dependency hangs: a longer scrape would time out, and Prometheus would lose all metrics
// of the process. At most one read runs at a time. It can outlive the call, until read returns.
func Limited[T any](read func(context.Context) (T, error)) func() (T, error) {
	type result struct {
		value T
		err   error
	}
	var (
		mu      sync.Mutex
		running chan result
		failed  result
		until   time.Time // end of the time for which failed is kept
	)
	return func() (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(until) {
			return failed.value, failed.err
		}
		if len(running) > 0 { // the late result of a call that has given up
			running = nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		defer cancel()
		if running == nil {
			results := make(chan result, 1)
			running = results
			go func() {
				value, err := read(ctx)
				results <- result{value, err}
			}()
		}
		var r result
		select {
		case r = <-running:
			running = nil
		case <-ctx.Done():
			r.err = ctx.Err()
		}
		if r.err != nil {
			failed, until = r, time.Now().Add(failureTime)
		}
		return r.value, r.err
	}
}
