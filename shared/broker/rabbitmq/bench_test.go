package rabbitmq_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
)

// BenchmarkPublish measures one publish from the call to the confirm of a quorum queue,
// with one publisher and with many concurrent ones, whose confirms are batched.
func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 64} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			queue := brokertest.Name()
			mq := open(b, queue)
			body := make([]byte, 1000)
			connect(b, mq, queue)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var work sync.WaitGroup
			for range publishers {
				work.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if err := mq.Publish(b.Context(), queue, broker.Message{Body: body}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			work.Wait()
		})
	}
}

// connect returns once a message is confirmed, which is some moments after the
// declaration of the queue.
func connect(b *testing.B, mq broker.Broker, queue string) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		err := mq.Publish(b.Context(), queue, brokertest.Text("first"))
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			b.Fatal(err)
		}
	}
}
