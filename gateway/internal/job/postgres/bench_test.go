package postgres

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// BenchmarkSettle settles images of one job after the other, and of 16 jobs at once, from
// 64 goroutines and with as many connections as a gateway takes. Results of the same job
// wait for each other.
func BenchmarkSettle(b *testing.B) {
	for _, jobs := range []int{1, 16} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			s := open(b, schema(b)+fmt.Sprintf("&pool_max_conns=%d", maxConns))
			var refs []job.Ref
			for round := 0; len(refs) < b.N; round++ {
				for n := range jobs {
					ok(b, s.Create(b.Context(), inlineJob(fmt.Sprint(round, n), 100)))
				}
				for i := range 100 * jobs {
					refs = append(refs, job.Ref{JobID: fmt.Sprint(round, i%jobs), Index: i / jobs})
				}
			}
			b.ResetTimer()
			var next atomic.Int64
			var workers sync.WaitGroup
			for range 64 {
				workers.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						ended := pipeline.Ended(pipeline.NewEnvelope(refs[i].JobID, refs[i].Index, t0), "p", t0)
						if _, changed, err := s.Change(b.Context(), refs[i], job.Settle(ended, t0), t0); err != nil || !changed {
							b.Errorf("settle: changed %t, %v", changed, err)
							return
						}
					}
				})
			}
			workers.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "settles/s")
		})
	}
}
