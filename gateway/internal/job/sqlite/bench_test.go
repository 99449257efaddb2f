package sqlite

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// BenchmarkSettle settles images from 1 and from 64 goroutines. The metric
// "speedup" compares with the same changes committed one by one, measured in the
// same run: what group commit is worth on the disk at hand.
func BenchmarkSettle(b *testing.B) {
	const alone = 300
	s := openStore(b, logLimit)
	refs := openImages(b, s, alone)
	begun := time.Now()
	for _, ref := range refs {
		x, err := s.writer.begin(b.Context(), nil)
		ok(b, err)
		_, changed, err := x.change(b.Context(), ref, settle(ref), t0)
		ok(b, err)
		ok(b, x.Commit())
		if !changed {
			b.Fatal("nothing was settled")
		}
	}
	each := time.Since(begun) / alone

	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			s := openStore(b, logLimit)
			refs := openImages(b, s, b.N)
			b.ResetTimer()
			var next atomic.Int64
			var workers sync.WaitGroup
			for range goroutines {
				workers.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if _, changed, err := s.Change(b.Context(), refs[i], settle(refs[i]), t0); err != nil || !changed {
							b.Errorf("settle: changed %t, %v", changed, err)
							return
						}
					}
				})
			}
			workers.Wait()
			perOp := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(time.Second)/float64(perOp), "settles/s")
			b.ReportMetric(float64(each)/float64(perOp), "speedup")
		})
	}
}

func settle(ref job.Ref) job.Transition {
	return job.Settle(pipeline.Ended(pipeline.NewEnvelope(ref.JobID, ref.Index, t0), "p", t0), t0)
}

// openImages stores jobs of a hundred images and names n of the images.
func openImages(b *testing.B, s *Store, n int) []job.Ref {
	b.Helper()
	var refs []job.Ref
	for i := 0; len(refs) < n; i++ {
		j := bigJob(fmt.Sprintf("%s %d", b.Name(), i))
		ok(b, s.Create(b.Context(), j))
		for index := range j.Images {
			refs = append(refs, job.Ref{JobID: j.ID, Index: index})
		}
	}
	return refs[:n]
}

// BenchmarkCreate stores batches of a hundred images.
func BenchmarkCreate(b *testing.B) {
	s := openStore(b, logLimit)
	for i := 0; b.Loop(); i++ {
		ok(b, s.Create(b.Context(), bigJob(fmt.Sprint(i))))
	}
}

// BenchmarkChanges reads what one settle has changed in a job of a hundred
// images, as a watcher does.
func BenchmarkChanges(b *testing.B) {
	s := openStore(b, logLimit)
	ref := openImages(b, s, 1)[0]
	_, _, err := s.Change(b.Context(), ref, settle(ref), t0)
	ok(b, err)
	for b.Loop() {
		j, err := s.Changes(b.Context(), ref.JobID, 1)
		ok(b, err)
		if len(j.Images) != 1 {
			b.Fatalf("%d images", len(j.Images))
		}
	}
}

// BenchmarkGet reads a job of a hundred images.
func BenchmarkGet(b *testing.B) {
	s := openStore(b, logLimit)
	ref := openImages(b, s, 1)[0]
	for b.Loop() {
		_, err := s.Get(b.Context(), ref.JobID)
		ok(b, err)
	}
}
