package sqlstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// benchmark runs on a database of each dialect, with the number of connections of a gateway.
func benchmark(b *testing.B, run func(*testing.B, *Store)) {
	b.Helper()
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			d := newDatabase(b, dialect)
			if dialect == "postgres" {
				d.address += fmt.Sprintf("&pool_max_conns=%d", maxConns)
			}
			run(b, d.mustOpen(b))
		})
	}
}

// BenchmarkSettle settles images from 1 and from 64 goroutines, of one job after another and
// of 16 jobs concurrently.
func BenchmarkSettle(b *testing.B) {
	for _, load := range []struct{ goroutines, jobs int }{{1, 1}, {64, 1}, {64, 16}} {
		b.Run(fmt.Sprintf("goroutines=%d,jobs=%d", load.goroutines, load.jobs), func(b *testing.B) {
			benchmark(b, func(b *testing.B, s *Store) { settleAll(b, []*Store{s}, load.goroutines, load.jobs) })
		})
	}
}

// BenchmarkGateways settles images of 16 jobs from 1, 2 and 4 stores on one database, as gateways do,
// with 64 goroutines each.
func BenchmarkGateways(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("gateways=%d", n), func(b *testing.B) {
			address := schema(b)
			gateways := make([]*Store, n)
			for i := range gateways {
				gateways[i] = openURL(b, fmt.Sprintf("%s&pool_max_conns=%d", address, maxConns))
			}
			settleAll(b, gateways, 64, 16)
		})
	}
}

// settleAll settles the images of some jobs from so many goroutines of each store.
func settleAll(b *testing.B, stores []*Store, goroutines, jobs int) {
	b.Helper()
	refs := openImages(b, stores[0], b.N, jobs)
	b.ResetTimer()
	var next atomic.Int64
	var workers sync.WaitGroup
	for n := range goroutines * len(stores) {
		s := stores[n%len(stores)]
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				if _, changed, err := s.Change(b.Context(), refs[i], settled(refs[i]), t0); err != nil || !changed {
					b.Errorf("settle: changed %t, %v", changed, err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "settles/s")
}

// openImages stores jobs of a hundred images and returns n of the images, alternating between
// the jobs.
func openImages(b *testing.B, s *Store, n, jobs int) []job.Ref {
	b.Helper()
	var refs []job.Ref
	for round := 0; len(refs) < n; round++ {
		for n := range jobs {
			ok(b, s.Create(b.Context(), bigJob(fmt.Sprint(round, n))))
		}
		for i := range 100 * jobs {
			refs = append(refs, job.Ref{JobID: fmt.Sprint(round, i%jobs), Index: i / jobs})
		}
	}
	return refs[:n]
}

// BenchmarkGroup settles images in separate transactions, one after another. The ratio to
// BenchmarkSettle is the gain of group commit on the local disk.
func BenchmarkGroup(b *testing.B) {
	s := openStore(b, logLimit)
	refs := openImages(b, s, b.N, 1)
	b.ResetTimer()
	for _, ref := range refs {
		x, t, err := file(s).writer.begin(b.Context(), nil)
		ok(b, err)
		c := &change{ref: ref, transition: settled(ref), now: t0}
		ok(b, x.change(b.Context(), []*change{c}))
		ok(b, t.Commit())
		if !c.changed {
			b.Fatal("no image was settled")
		}
	}
}

// BenchmarkCreate stores batches of a hundred images.
func BenchmarkCreate(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store) {
		for i := 0; b.Loop(); i++ {
			ok(b, s.Create(b.Context(), bigJob(fmt.Sprint(i))))
		}
	})
}

// BenchmarkChanges reads the changes of one settled image in a job of a hundred images, as a
// watcher does.
func BenchmarkChanges(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store) {
		ref := openImages(b, s, 1, 1)[0]
		_, _, err := s.Change(b.Context(), ref, settled(ref), t0)
		ok(b, err)
		for b.Loop() {
			j, err := s.Changes(b.Context(), ref.JobID, 1)
			ok(b, err)
			if len(j.Images) != 1 {
				b.Fatalf("%d images", len(j.Images))
			}
		}
	})
}

// BenchmarkGet reads a job of a hundred images.
func BenchmarkGet(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store) {
		ref := openImages(b, s, 1, 1)[0]
		for b.Loop() {
			_, err := s.Get(b.Context(), ref.JobID)
			ok(b, err)
		}
	})
}

// BenchmarkList reads pages of fifty jobs of two images.
func BenchmarkList(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store) {
		for i := range 50 {
			ok(b, s.Create(b.Context(), newJob(fmt.Sprint(i), 2)))
		}
		for b.Loop() {
			page, err := s.List(b.Context(), job.Query{Viewer: job.Everybody, Limit: 50})
			ok(b, err)
			if len(page.Jobs) != 50 {
				b.Fatalf("%d jobs", len(page.Jobs))
			}
		}
	})
}

// BenchmarkSend takes a hundred unsent images and marks them sent.
func BenchmarkSend(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Store) {
		ok(b, s.Create(b.Context(), bigJob("job")))
		for b.Loop() {
			unsent, err := s.Unsent(b.Context(), 256)
			ok(b, err)
			if len(unsent) != 100 {
				b.Fatalf("%d unsent", len(unsent))
			}
			ok(b, s.MarkSent(b.Context(), unsent))
			_, err = s.Resend(b.Context(), t0.Add(time.Hour))
			ok(b, err)
		}
	})
}
