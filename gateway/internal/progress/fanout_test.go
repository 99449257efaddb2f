package progress_test

import (
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// BenchmarkFanOut measures the end of an image for all watchers of the job: one change
// notification, one read, one frame for each.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 100} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			const perJob = 1000 // images per job, so that the job stays the same
			h := setup(b, progress.Config{})
			b.ReportAllocs()
			b.ResetTimer()
			var watching []*progress.Watcher
			for i := range b.N {
				b.StopTimer()
				id := fmt.Sprint(i / perJob)
				if i%perJob == 0 {
					for _, w := range watching {
						w.Close()
					}
					watching = watching[:0]
					h.create(id, perJob+1) // one more, so that the job does not end
					for range watchers {
						w := h.subscribe(id)
						h.next(w)
						watching = append(watching, w)
					}
				}
				j := h.settle(id, i%perJob)
				b.StartTimer()
				h.notify(j)
				for _, w := range watching {
					<-w.Ready()
					if events, err := w.Next(); err != nil || len(events) != 1 {
						b.Fatalf("events %v, %v, want 1 and nil", events, err)
					}
				}
			}
		})
	}
}
