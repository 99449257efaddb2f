package api_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkNoisyNeighbour measures how much one name slows down another if it sends a
// hundred times as many requests as it may (500 per second instead of 300 per minute):
// the 99th percentile of the quiet name's GET of a job of a hundred images, with the noise
// and, in the same run, without it. Clients and server share the processors.
func BenchmarkNoisyNeighbour(b *testing.B) {
	const noise = 500 // requests per second
	keys := newKeyFile(b, "noisy requests_per_minute=300", "quiet")
	r := setup(b, options{keys: keys.Store})
	path := "/api/v1/batch/" + r.createAs(keys, "quiet", 100)
	ask := func(name string) (status int, took time.Duration) {
		started := time.Now()
		got := r.as(keys, name, http.MethodGet, path, "")
		return got.status, time.Since(started)
	}
	p99 := func() time.Duration {
		all := make([]time.Duration, max(b.N, 100))
		for i := range all {
			var status int
			if status, all[i] = ask("quiet"); status != http.StatusOK {
				b.Fatalf("the quiet client got %d", status)
			}
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	p99() // warm-up
	b.ResetTimer()
	alone := p99()

	ctx, quieten := context.WithCancel(b.Context())
	var noisy sync.WaitGroup
	var asked, refused atomic.Int64
	const voices = 10
	for range voices {
		noisy.Go(func() {
			beat := time.NewTicker(voices * time.Second / noise)
			defer beat.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-beat.C:
				}
				asked.Add(1)
				if status, _ := ask("noisy"); status == http.StatusTooManyRequests {
					refused.Add(1)
				}
			}
		})
	}
	withNoise := p99()
	quieten()
	noisy.Wait()
	b.ReportMetric(float64(alone.Microseconds()), "p99-alone-µs")
	b.ReportMetric(float64(withNoise.Microseconds()), "p99-noisy-µs")
	b.ReportMetric(float64(withNoise)/float64(alone), "noisy/alone")
	b.ReportMetric(float64(refused.Load())/float64(max(1, asked.Load())), "refused/asked")
}
