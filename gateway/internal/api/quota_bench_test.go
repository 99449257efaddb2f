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

// BenchmarkNoisyNeighbour measures what one name costs another that asks a
// hundred times as often as it may (500 requests a second, where 300 a minute are
// allowed): the 99th percentile of the quiet one's GET of a job of a hundred images,
// with it and, in the same run, without. Clients and server share the processors.
func BenchmarkNoisyNeighbour(b *testing.B) {
	const noise = 500 // requests a second
	keys := newKeyFile(b, "noisy requests_per_minute=300", "quiet")
	r := setup(b, options{keys: keys.Store})
	path := "/api/v1/batch/" + r.createAs(keys, "quiet", 100)
	ask := func(name string) (status int, took time.Duration) {
		began := time.Now()
		got := r.as(keys, name, http.MethodGet, path, "")
		return got.status, time.Since(began)
	}
	p99 := func() time.Duration {
		all := make([]time.Duration, max(b.N, 100))
		for i := range all {
			var status int
			if status, all[i] = ask("quiet"); status != http.StatusOK {
				b.Fatalf("the quiet one is answered %d", status)
			}
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	p99() // warms up
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
	beside := p99()
	quieten()
	noisy.Wait()
	b.ReportMetric(float64(alone.Microseconds()), "p99-alone-µs")
	b.ReportMetric(float64(beside.Microseconds()), "p99-beside-µs")
	b.ReportMetric(float64(beside)/float64(alone), "beside/alone")
	b.ReportMetric(float64(refused.Load())/float64(max(1, asked.Load())), "refused/asked")
}
