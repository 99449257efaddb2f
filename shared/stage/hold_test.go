package stage_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// sluggish is a broker whose publishes take as long as allowed. Only publishes to
// image_processed succeed. It records how long handlers keep their deliveries.
type sluggish struct {
	broker.Broker
	mu         sync.Mutex // guards longest and deliveries
	longest    time.Duration
	deliveries int
}

func (b *sluggish) Publish(ctx context.Context, queue string, m broker.Message) error {
	time.Sleep(6 * time.Second)
	if queue == pipeline.ImageProcessed.Name {
		return b.Broker.Publish(ctx, queue, m)
	}
	return broker.ErrUnavailable
}

func (b *sluggish) Consume(ctx context.Context, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) error {
	return b.Broker.Consume(ctx, queue, prefetch, func(ctx context.Context, dv broker.Delivery) error {
		start := time.Now()
		err := handle(ctx, dv)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.longest = max(b.longest, time.Since(start))
		b.deliveries++
		return err
	})
}

// TestNoDeliveryExceedsMaxHold verifies that no delivery stays in flight longer than
// MaxHold, with a slow broker that then rejects the messages. At various moments, the
// step starts a last try that ends at its deadline or ignores the deadline.
func TestNoDeliveryExceedsMaxHold(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		for hang := time.Duration(0); hang < stage.DefaultReturnAfter+5*time.Second; {
			// The last moments before the limit are the critical ones.
			if hang += 20 * time.Second; hang > stage.DefaultReturnAfter-8*time.Second {
				hang += 100*time.Millisecond - 20*time.Second
			}
			t.Run(fmt.Sprintf("heeds deadline %t after %s", heeds, hang), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := membroker.New(pipeline.WorkQueues()...)
					b := &sluggish{Broker: memory}
					ctx, stop := context.WithCancel(t.Context())
					var work sync.WaitGroup
					start := time.Now()
					u := upload(0)
					u.Attempt = pipeline.MaxAttempts // A failure sends two messages.
					if err := stage.Publish(ctx, memory, pipeline.ImageUpload, u); err != nil {
						t.Fatal(err)
					}
					r := &rig{t: t, broker: b}
					d := r.deps()
					d.Metrics = telemetry.NewRegistry()
					r.run(ctx, &work, d, func(ctx context.Context, _ pipeline.Upload) (pipeline.Analysis, error) {
						if time.Since(start) < hang {
							return pipeline.Analysis{}, stage.ErrUnavailable
						}
						if heeds {
							<-ctx.Done()
							return pipeline.Analysis{}, fmt.Errorf("%w: %w", stage.ErrUnavailable, ctx.Err())
						}
						time.Sleep(stage.DefaultDeadline + time.Minute)
						return pipeline.Analysis{}, nil
					})
					settle(10 * time.Minute)
					stop()
					settle(2 * time.Minute)
					work.Wait()
					if b.deliveries == 0 || b.longest > stage.MaxHold {
						t.Errorf("%d deliveries, the longest in flight for %s; want at least 1 and at most MaxHold", b.deliveries, b.longest)
					}
					if err := memory.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
