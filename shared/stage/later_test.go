package stage_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

// TestLaterKeepsState verifies that a step gets its own message back, uncounted, as often as it
// needs: in its slot if the wait is short, and otherwise through a retry queue, while its slot
// serves another message.
func TestLaterKeepsState(t *testing.T) {
	for name, test := range map[string]struct {
		after, hold time.Duration
		most, least time.Duration // from the first try to the last of four
		otherWaits  bool          // another message waits for the only slot
	}{
		"in its slot":             {4 * time.Second, 10 * time.Second, 13 * time.Second, 12 * time.Second, true},
		"through the 5 s queue":   {4 * time.Second, time.Second, 22 * time.Second, 18 * time.Second, false},
		"longer than every queue": {time.Hour, time.Second, 49 * time.Second, 48 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				var mu sync.Mutex
				var tries []time.Time
				var other time.Time
				d := r.deps()
				d.Concurrency = 1
				r.run(ctx, work, d, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					mu.Lock()
					defer mu.Unlock()
					if u.Index == 1 {
						other = time.Now()
						return analysis(u)
					}
					if tries = append(tries, time.Now()); u.Attempt != 1 || u.Size != int64(len(tries)-1) {
						t.Errorf("try %d gets attempt %d and state %d, want 1 and %d", len(tries), u.Attempt, u.Size, len(tries)-1)
					}
					if u.Size == 3 {
						return analysis(u)
					}
					u.Size++
					return pipeline.Analysis{}, &stage.Later{Message: u, After: test.after, Hold: test.hold, Err: errors.New("busy")}
				})
				r.publish(upload(0))
				settle(time.Millisecond)
				r.publish(upload(1))
				settle(5 * time.Minute)
				if n := r.count(pipeline.MetadataGenerated.Name); n != 2 || len(tries) != 4 {
					t.Fatalf("%d analyses after %d tries, want 2 after 4", n, len(tries))
				}
				if took := tries[3].Sub(tries[0]); took < test.least || took > test.most {
					t.Errorf("the four tries took %s, want %s to %s", took, test.least, test.most)
				}
				if waited := !other.Before(tries[3]); waited != test.otherWaits {
					t.Errorf("the other message waited for the last try: %v, want %v", waited, test.otherWaits)
				}
			})
		})
	}
}

// TestLaterInDrain verifies that the end of the stage does not wait for a message that is needed
// later, and keeps its state.
func TestLaterInDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, _ context.Context, work *sync.WaitGroup) {
		stageCtx, stop := context.WithCancel(t.Context())
		r.run(stageCtx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			u.Size++
			return pipeline.Analysis{}, &stage.Later{Message: u, After: time.Minute, Hold: time.Hour, Err: errors.New("busy")}
		})
		r.publish(upload(0))
		settle(time.Second)
		stop()
		settle(time.Millisecond)
		// The message is on a retry queue already, and so arrives without another process.
		arrived := make(chan broker.Delivery, 1)
		ctx, end := context.WithCancel(t.Context())
		work.Go(func() {
			_ = r.broker.Consume(ctx, pipeline.ImageUpload.Name, 1, func(_ context.Context, dv broker.Delivery) error {
				arrived <- dv
				return dv.Ack()
			})
		})
		settle(20 * time.Second)
		end()
		select {
		case dv := <-arrived:
			var u pipeline.Upload
			if err := json.Unmarshal(dv.Body, &u); err != nil || u.Size != 1 || dv.Redelivered {
				t.Errorf("got state %d, redelivered %v and error %v; want the state of the step", u.Size, dv.Redelivered, err)
			}
		default:
			t.Error("the message did not come back within 20 s")
		}
	})
}

// TestRoute verifies that the output of a step decides about its queue.
func TestRoute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		work.Go(func() {
			err := stage.Route(ctx, r.deps(), pipeline.ImageUpload, func(a pipeline.Analysis) pipeline.Queue[pipeline.Analysis] {
				if a.Index%2 == 0 {
					return pipeline.MetadataGenerated
				}
				return pipeline.ImageDescribed
			}, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
			if err != nil {
				t.Errorf("Route: %v", err)
			}
		})
		for i := range 5 {
			r.publish(upload(i))
		}
		settle(time.Second)
		left, err := r.broker.Depth(ctx, pipeline.ImageDescribed.Name)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 3 || left != 2 || err != nil {
			t.Errorf("%d and %d messages on the two queues (%v), want 3 and 2", n, left, err)
		}
	})
}
