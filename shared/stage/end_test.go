package stage_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// TestDrainFinishesWorkInFlight verifies that a stopped stage finishes the messages in
// flight and takes no more.
func TestDrainFinishesWorkInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		running, release := make(chan struct{}, 10), make(chan struct{})
		stageCtx, stop := context.WithCancel(ctx)
		defer stop()
		var done atomic.Bool
		d := r.deps()
		d.Concurrency = 2
		work.Go(func() {
			err := stage.Run(stageCtx, d, pipeline.ImageUpload, pipeline.MetadataGenerated, func(ctx context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
				running <- struct{}{}
				<-release
				if ctx.Err() != nil {
					t.Error("the context of work in flight was canceled by the drain")
				}
				return analysis(u)
			})
			if err != nil {
				t.Error(err)
			}
			done.Store(true)
		})
		for i := range 5 {
			r.publish(upload(i))
		}
		<-running
		<-running
		stop()
		synctest.Wait()
		if done.Load() {
			t.Fatal("the stage returned with work in flight")
		}
		close(release)
		settle(time.Second)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 2 || !done.Load() {
			t.Errorf("%d images completed, stage ended: %v; want 2, true", n, done.Load())
		}
		// The other messages are still on the queue for the next stage.
		r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
		settle(time.Minute)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 5 {
			t.Errorf("%d of 5 images completed, want 5", n)
		}
	})
}

// refusing is a broker that rejects messages until a given time.
type refusing struct {
	broker.Broker
	until time.Time
}

func (b refusing) Publish(ctx context.Context, queue string, m broker.Message) error {
	if time.Now().Before(b.until) {
		return broker.ErrNoRoute
	}
	return b.Broker.Publish(ctx, queue, m)
}

// TestAckOnlyAfterPublish verifies that a stage does not ack its input before the
// broker has confirmed the output, so that a stage that dies loses no message.
func TestAckOnlyAfterPublish(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		r.publish(upload(0))
		d := r.deps()
		d.Broker = refusing{r.broker, time.Now().Add(24 * time.Hour)}
		stageCtx, stop := context.WithCancel(ctx)
		r.run(stageCtx, work, d, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
		settle(10 * time.Minute)
		stop()
		settle(time.Minute)
		r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
		settle(time.Minute)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 1 {
			t.Errorf("%d images completed, want 1", n)
		}
	})
}

// TestHangingStepsEndTheStage verifies that steps that ignore their context end the
// stage when they occupy all its slots, so that the process is restarted.
func TestHangingStepsEndTheStage(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		d := r.deps()
		d.Concurrency, d.Deadline = 1, time.Second
		release := make(chan struct{})
		var ended atomic.Bool
		work.Go(func() {
			err := stage.Run(ctx, d, pipeline.ImageUpload, pipeline.MetadataGenerated, func(context.Context, pipeline.Upload) (pipeline.Analysis, error) {
				<-release
				return pipeline.Analysis{}, nil
			})
			if err == nil {
				t.Error("a stage with a hanging step in every slot returned no error")
			}
			ended.Store(true)
		})
		r.publish(upload(0))
		r.publish(upload(1))
		settle(time.Minute)
		if !ended.Load() {
			t.Error("the stage did not end")
		}
		close(release)
		synctest.Wait()
	})
}

func TestDrainRetriesAndDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		var tries atomic.Int64
		work.Go(func() {
			err := stage.Drain(ctx, r.deps(), pipeline.ImageUpload, func(context.Context, pipeline.Upload) error {
				if tries.Add(1) < 3 {
					return errors.New("not yet")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		r.publish(upload(0))
		settle(time.Minute)
		if tries.Load() != 3 || r.count(broker.DeadQueue(pipeline.ImageUpload.Name)) != 0 {
			t.Errorf("tried %d times, want 3, and no dead letter", tries.Load())
		}
	})
}

// TestDeadLetters verifies that DrainDead passes a dead letter of any queue and version
// on once, waits for an outage to end, and skips malformed dead letters.
func TestDeadLetters(t *testing.T) {
	publish := func(t *testing.T, b broker.Broker, body string) {
		t.Helper()
		if err := b.Publish(t.Context(), broker.DeadResults, broker.Message{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := membroker.New(pipeline.ImageUpload.Name)
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		recovery := time.Now().Add(time.Hour)
		var passed []pipeline.Envelope
		work.Go(func() {
			d := stage.Deps{Broker: b, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 1}
			err := stage.DrainDead(ctx, d, func(_ context.Context, e pipeline.Envelope) error {
				if time.Now().Before(recovery) {
					return errors.New("the database is unavailable")
				}
				passed = append(passed, e)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		publish(t, b, "rubbish")
		publish(t, b, `{"version":9,"job_id":"j","trace_id":"0123456789abcdef0123456789abcdef","index":4,"metadata":{}}`)
		settle(2 * time.Hour)
		if len(passed) != 1 || passed[0].Index != 4 || passed[0].JobID != "j" {
			t.Errorf("passed on %+v, want image 4 of job j", passed)
		}
		if n := b.Len(broker.DeadResults); n != 0 {
			t.Errorf("%d dead letters left, want 0", n)
		}
		stop()
		work.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
