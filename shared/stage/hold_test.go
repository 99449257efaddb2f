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

// sluggish is a broker each of whose publishes takes as long as one may, those of
// other queues than image_processed in vain, and which notes how long deliveries
// are in hand.
type sluggish struct {
	broker.Broker
	mu      sync.Mutex // guards longest and given
	longest time.Duration
	given   int
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
		began := time.Now()
		err := handle(ctx, dv)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.longest = max(b.longest, time.Since(began))
		b.given++
		return err
	})
}

// TestNothingIsHeldForLong holds that no delivery is in hand for longer than
// MaxHold, at whatever moment of it a step comes that ends with its deadline, or
// heeds no deadline, and with a broker that takes its time and then nothing.
func TestNothingIsHeldForLong(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		for hang := time.Duration(0); hang < stage.DefaultGiveBack+5*time.Second; {
			// The last moments are the worst.
			if hang += 20 * time.Second; hang > stage.DefaultGiveBack-8*time.Second {
				hang += 100*time.Millisecond - 20*time.Second
			}
			t.Run(fmt.Sprintf("heeds %t after %s", heeds, hang), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := membroker.New(pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name)
					b := &sluggish{Broker: memory}
					ctx, stop := context.WithCancel(t.Context())
					var work sync.WaitGroup
					began := time.Now()
					u := upload(0)
					u.Attempt = pipeline.MaxAttempts // Two letters are to be sent when it fails.
					if err := stage.Publish(ctx, memory, pipeline.ImageUpload, u); err != nil {
						t.Fatal(err)
					}
					r := &rig{t: t, broker: b}
					d := r.deps()
					d.Metrics = telemetry.NewRegistry()
					r.run(ctx, &work, d, func(ctx context.Context, _ pipeline.Upload) (pipeline.Analysis, error) {
						if time.Since(began) < hang {
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
					if b.given == 0 || b.longest > stage.MaxHold {
						t.Errorf("%d deliveries were held for up to %s", b.given, b.longest)
					}
					if err := memory.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
