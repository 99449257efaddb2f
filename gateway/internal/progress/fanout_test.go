package progress_test

import (
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// BenchmarkFanOut is an image's end on its way to all who watch the job: one hint,
// one read, a frame for each.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 100} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			const perJob = 1000 // so that the job itself stays what it is
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
					h.create(id, perJob+1) // it does not end
					for range watchers {
						w := h.subscribe(id)
						h.next(w)
						watching = append(watching, w)
					}
				}
				j := h.settle(id, i%perJob)
				b.StartTimer()
				h.hint(j)
				for _, w := range watching {
					<-w.Ready()
					if events, err := w.Next(); err != nil || len(events) != 1 {
						b.Fatalf("told %v, %v, want 1 and nil", events, err)
					}
				}
			}
		})
	}
}
