package stage_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
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

// TestPrecedence verifies that a stage tries its quarantined messages when the quarantined message of the other stage in the
// process has ended, or has lasted too long, and that this delays them only then.
func TestPrecedence(t *testing.T) {
	for name, c := range map[string]struct {
		took time.Duration // of the message of the first stage; 0: there is none
		want []string
		last time.Duration // when the second message of the other stage is tried
	}{
		"short": {1500 * time.Millisecond, []string{"first", "second", "second"}, 1500 * time.Millisecond},
		"long":  {time.Minute, []string{"second", "second", "first"}, 11 * time.Second},
		"none":  {0, []string{"second", "second"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := membroker.New(pipeline.WorkQueues()...)
				ctx, stop := context.WithCancel(t.Context())
				quarantine := func(queue string, m any) {
					body, err := json.Marshal(m)
					if err == nil {
						err = b.Publish(ctx, broker.QuarantineQueue(queue), broker.Message{Body: body})
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				started := time.Now()
				var mu sync.Mutex
				var ended []string
				var last time.Duration
				end := func(who string) {
					mu.Lock()
					defer mu.Unlock()
					if ended = append(ended, who); who == "second" {
						last = time.Since(started)
					}
				}
				for i := range 2 {
					quarantine(pipeline.ImageUpload.Name, upload(i))
				}
				if c.took > 0 {
					a, _ := analysis(upload(2))
					quarantine(pipeline.ImageDescribed.Name, a)
				}
				order := new(stage.Precedence)
				deps := func() stage.Deps {
					return stage.Deps{Broker: b, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 4, Deadline: 2 * time.Minute}
				}
				var work sync.WaitGroup
				run := func(do func() error) {
					work.Go(func() {
						if err := do(); err != nil {
							t.Error(err)
						}
					})
				}
				run(func() error {
					d := deps()
					d.Yields = order
					return stage.Run(ctx, d, pipeline.ImageUpload, pipeline.MetadataGenerated, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
						end("second")
						return analysis(u)
					})
				})
				run(func() error {
					d := deps()
					d.Leads = order
					return stage.Run(ctx, d, pipeline.ImageDescribed, pipeline.MetadataGenerated, func(_ context.Context, a pipeline.Analysis) (pipeline.Analysis, error) {
						time.Sleep(c.took)
						end("first")
						a.Envelope = a.Next(time.Now())
						return a, nil
					})
				})
				settle(2 * time.Minute)
				if !slices.Equal(ended, c.want) || last.Round(100*time.Millisecond) != c.last {
					t.Errorf("ended in the order %q, the last of the second stage after %s; want %q and %s", ended, last, c.want, c.last)
				}
				stop()
				work.Wait()
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestPrecedenceEnds verifies that a stage that waits for another one ends at once, and that its message returns to the queue.
func TestPrecedenceEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		body, err := json.Marshal(upload(0))
		if err == nil {
			err = r.broker.Publish(ctx, broker.QuarantineQueue(pipeline.ImageUpload.Name), broker.Message{Body: body})
		}
		if err != nil {
			t.Fatal(err)
		}
		d := r.deps()
		d.Yields = new(stage.Precedence)
		tried := 0
		step := func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			tried++
			return analysis(u)
		}
		running, end := context.WithCancel(ctx)
		var first sync.WaitGroup
		r.run(running, &first, d, step)
		settle(100 * time.Millisecond)
		end()
		start := time.Now()
		first.Wait()
		if tried != 0 || time.Since(start) > 0 {
			t.Errorf("%d tries, and the stage ended after %s; want none and immediately", tried, time.Since(start))
		}
		r.run(ctx, work, d, step)
		settle(time.Minute)
		if tried != 1 || r.count(pipeline.MetadataGenerated.Name) != 1 {
			t.Errorf("%d tries, %d outputs; want one of each", tried, r.count(pipeline.MetadataGenerated.Name))
		}
	})
}
