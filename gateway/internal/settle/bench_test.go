package settle

import (
	"fmt"
	"testing"
)

// BenchmarkRun measures a result from the queue to the disk: decoded, checked, committed with
// concurrent results, acked.
func BenchmarkRun(b *testing.B) {
	r := setup(b)
	const perJob = 100
	for i := 0; i < b.N; i += perJob {
		r.job(fmt.Sprint(i/perJob), perJob)
	}
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range b.N {
			<-r.changes
		}
	}()
	for i := range b.N {
		r.publish("image_processed", completed(fmt.Sprint(i/perJob), i%perJob))
	}
	<-done
}
