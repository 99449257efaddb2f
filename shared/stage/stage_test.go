package stage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const jobID = "550e8400-e29b-41d4-a716-446655440000"

func upload(index int) pipeline.Upload {
	return pipeline.Upload{Envelope: pipeline.NewEnvelope(jobID, index, time.Now()), OriginalFilename: fmt.Sprint(index)}
}

func analysis(u pipeline.Upload) (pipeline.Analysis, error) {
	u.Envelope = u.Next(time.Now())
	return pipeline.Analysis{Upload: u}, nil
}

// rig is a stage from image_upload to metadata_generated on an in-memory broker. It
// records all messages that leave the stage.
type rig struct {
	t      *testing.T
	broker broker.Broker
	stop   context.CancelFunc

	mu  sync.Mutex
	got map[string][][]byte // message bodies by queue
}

// deps returns the default Deps, which a test can change.
func (r *rig) deps() stage.Deps {
	return stage.Deps{Broker: r.broker, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 4}
}

// inBubble runs the test with a fake clock, so that the delays of the retry queues take
// no real time.
func inBubble(t *testing.T, test func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup)) {
	synctest.Test(t, func(t *testing.T) {
		memory := membroker.New(pipeline.WorkQueues()...)
		r := &rig{t: t, broker: memory, got: map[string][][]byte{}}
		ctx, stop := context.WithCancel(t.Context())
		r.stop = stop
		var work sync.WaitGroup
		for _, q := range []string{
			pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name,
			broker.DeadQueue(pipeline.ImageUpload.Name), broker.DeadResults,
		} {
			work.Go(func() {
				err := memory.Consume(ctx, q, 10, func(_ context.Context, dv broker.Delivery) error {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.got[q] = append(r.got[q], dv.Body)
					return dv.Ack()
				})
				if err != nil {
					t.Errorf("consume %s: %v", q, err)
				}
			})
		}
		test(t, r, ctx, &work)
		stop()
		work.Wait()
		if err := memory.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) publish(u pipeline.Upload) {
	r.t.Helper()
	if err := stage.Publish(r.t.Context(), r.broker, pipeline.ImageUpload, u); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) count(queue string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got[queue])
}

// results decodes the messages that have reached image_processed.
func (r *rig) results() []pipeline.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []pipeline.Result
	for _, body := range r.got[pipeline.ImageProcessed.Name] {
		var m pipeline.Result
		if err := json.Unmarshal(body, &m); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// settle advances the fake clock by d and waits until all goroutines of the bubble are
// blocked.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) run(ctx context.Context, work *sync.WaitGroup, d stage.Deps, do func(context.Context, pipeline.Upload) (pipeline.Analysis, error)) {
	work.Go(func() {
		if err := stage.Run(ctx, d, pipeline.ImageUpload, pipeline.MetadataGenerated, do); err != nil {
			r.t.Errorf("run: %v", err)
		}
	})
}

func TestStepDone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
		for i := range 20 {
			r.publish(upload(i))
		}
		settle(time.Minute)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 20 {
			t.Errorf("%d analyses of 20 uploads, want 20", n)
		}
		if n := len(r.results()); n != 0 {
			t.Errorf("%d results, want none", n)
		}
	})
}

func TestFailureEndsImageImmediately(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		var tries atomic.Int64
		r.run(ctx, work, r.deps(), func(context.Context, pipeline.Upload) (pipeline.Analysis, error) {
			tries.Add(1)
			return pipeline.Analysis{}, fmt.Errorf("describe: %w", &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged JPEG"})
		})
		r.publish(upload(3))
		settle(time.Minute)
		got := r.results()
		if len(got) != 1 || got[0].Status != pipeline.Failed || got[0].ErrorCode != pipeline.CodeDamaged || got[0].Error != "Damaged JPEG" || got[0].Index != 3 {
			t.Errorf("results %+v, want image 3 failed as damaged", got)
		}
		if tries.Load() != 1 {
			t.Errorf("tried %d times, want 1", tries.Load())
		}
	})
}

// TestFailureThatMayPass verifies that such a failure ends the image at the last attempt, without a dead letter, and not if
// an earlier one succeeds.
func TestFailureThatMayPass(t *testing.T) {
	for _, passes := range []int{3, pipeline.MaxAttempts + 1} {
		t.Run(fmt.Sprintf("in attempt %d", passes), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				tries := 0
				r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					if tries++; u.Attempt < passes {
						return pipeline.Analysis{}, pipeline.OriginalLost(errors.New("no such key"))
					}
					return analysis(u)
				})
				r.publish(upload(0))
				settle(5 * time.Minute)
				results, passed := r.results(), r.count(pipeline.MetadataGenerated.Name)
				if want := min(passes, pipeline.MaxAttempts); tries != want {
					t.Errorf("tried %d times, want %d", tries, want)
				}
				if n := r.count(broker.DeadQueue(pipeline.ImageUpload.Name)); n != 0 {
					t.Errorf("%d dead letters, want none", n)
				}
				if passes <= pipeline.MaxAttempts && (passed != 1 || len(results) != 0) {
					t.Errorf("%d analyses and the results %+v, want one analysis", passed, results)
				}
				if passes > pipeline.MaxAttempts && (passed != 0 || len(results) != 1 || results[0].ErrorCode != pipeline.CodeOriginalLost) {
					t.Errorf("%d analyses and the results %+v, want one with original_lost", passed, results)
				}
			})
		})
	}
}

// TestErrorsAreCounted verifies the retries: five attempts, then a dead letter and one
// failed result, whether the step returns an error, panics or hangs.
func TestErrorsAreCounted(t *testing.T) {
	steps := map[string]func(context.Context) error{
		"error": func(context.Context) error { return errors.New("broken") },
		"panic": func(context.Context) error { panic("broken") },
		"hang":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				var attempts []int
				var at []time.Time
				d := r.deps()
				d.Deadline = time.Second
				r.run(ctx, work, d, func(ctx context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					attempts, at = append(attempts, u.Attempt), append(at, time.Now())
					return pipeline.Analysis{}, step(ctx)
				})
				r.publish(upload(0))
				settle(5 * time.Minute)
				if fmt.Sprint(attempts) != "[1 2 3 4 5]" {
					t.Errorf("attempts %v, want [1 2 3 4 5]", attempts)
				}
				if name == "error" {
					for i, want := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 15 * time.Second} {
						if got := at[i+1].Sub(at[i]); got != want {
							t.Errorf("attempt %d started after %s, want %s", i+2, got, want)
						}
					}
				}
				got := r.results()
				if len(got) != 1 || got[0].ErrorCode != pipeline.CodeProcessingFailed || !got[0].Retryable || got[0].Error != "Image could not be processed" {
					t.Errorf("results %+v, want one with processing_failed, retryable", got)
				}
				if n := r.count(broker.DeadQueue(pipeline.ImageUpload.Name)); n != 1 {
					t.Errorf("%d dead letters, want 1", n)
				}
			})
		})
	}
}

// TestOutageIsNotCounted verifies that an outage of any length fails no image and
// counts no attempt.
func TestOutageIsNotCounted(t *testing.T) {
	for _, outage := range []time.Duration{3 * time.Second, 3 * time.Minute, 2 * time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				until := time.Now().Add(outage)
				var mu sync.Mutex
				maxAttempt := 0
				r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					mu.Lock()
					maxAttempt = max(maxAttempt, u.Attempt)
					mu.Unlock()
					if time.Now().Before(until) {
						return pipeline.Analysis{}, fmt.Errorf("read: %w", objectstore.ErrUnavailable)
					}
					return analysis(u)
				})
				for i := range 20 {
					r.publish(upload(i))
				}
				settle(outage + 10*time.Minute)
				if n := r.count(pipeline.MetadataGenerated.Name); n != 20 {
					t.Errorf("%d of 20 images completed, want 20", n)
				}
				if maxAttempt != 1 || len(r.results()) != 0 {
					t.Errorf("highest attempt %d, results %v; want 1 and none", maxAttempt, r.results())
				}
			})
		})
	}
}

// TestQuarantine verifies that redelivered messages move to the quarantine queue and
// are processed one at a time.
func TestQuarantine(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		for i := range 8 {
			r.publish(upload(i))
		}
		// A consumer takes all eight messages and ends without an ack.
		consumerCtx, die := context.WithCancel(ctx)
		var taken atomic.Int64
		work.Go(func() {
			_ = r.broker.Consume(consumerCtx, pipeline.ImageUpload.Name, 8, func(context.Context, broker.Delivery) error {
				taken.Add(1)
				return nil
			})
		})
		synctest.Wait()
		die()
		synctest.Wait()
		if taken.Load() != 8 {
			t.Fatalf("consumer took %d messages, want 8", taken.Load())
		}
		var inFlight, most atomic.Int64
		r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			time.Sleep(10 * time.Millisecond)
			return analysis(u)
		})
		settle(time.Minute)
		if n := r.count(pipeline.MetadataGenerated.Name); n != 8 || most.Load() != 1 {
			t.Errorf("%d of 8 images completed, at most %d concurrently; want 8 and 1", n, most.Load())
		}
	})
}

func TestMalformedMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
		r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) { return analysis(u) })
		for _, body := range []string{"", "{", "[]", "{}", `{"version":1,"job_id":"j","trace_id":"../../etc","index":0}`, `{"version":1,"job_id":"j","trace_id":"0123456789abcdef0123456789abcdef","index":-1}`} {
			if err := r.broker.Publish(ctx, pipeline.ImageUpload.Name, broker.Message{Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		r.publish(upload(1))
		settle(time.Minute)
		if n := r.count(broker.DeadQueue(pipeline.ImageUpload.Name)); n != 6 {
			t.Errorf("%d dead letters, want 6", n)
		}
		if n := r.count(pipeline.MetadataGenerated.Name); n != 1 {
			t.Errorf("%d analyses, want 1", n)
		}
	})
}

// TestNewerVersionWaits verifies that an analyzer that is upgraded after the gateway
// fails no newer message, of whatever shape. The message waits for a consumer that
// reads its version, as there is one during an upgrade.
func TestNewerVersionWaits(t *testing.T) {
	newer := pipeline.Version + 1
	for name, body := range map[string]string{
		"same shape":       fmt.Sprintf(`{"version":%d,"job_id":%q,"trace_id":%q,"index":0,"attempt":1}`, newer, jobID, pipeline.NewTraceID(jobID, 0)),
		"other types":      fmt.Sprintf(`{"version":%d,"job_id":%q,"trace_id":%q,"index":"0","size":{"bytes":7}}`, newer, jobID, pipeline.NewTraceID(jobID, 0)),
		"other envelope":   fmt.Sprintf(`{"version":%d,"image":{"job":%q,"number":0}}`, newer, jobID),
		"much newer":       `{"version":2000}`,
		"invalid envelope": fmt.Sprintf(`{"size":"much","trace_id":[1],"version":%d}`, newer),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				var tries atomic.Int64
				d := r.deps()
				r.run(ctx, work, d, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					tries.Add(1)
					return analysis(u)
				})
				if err := r.broker.Publish(ctx, pipeline.ImageUpload.Name, broker.Message{Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
				settle(time.Hour)
				if tries.Load() != 0 || len(r.results()) != 0 || r.count(broker.DeadQueue(pipeline.ImageUpload.Name)) != 0 || r.count(broker.DeadResults) != 0 {
					t.Fatalf("tries %d, results %v: want the message to wait", tries.Load(), r.results())
				}
				// The old consumer runs next to a new one, and each takes messages in turn.
				var taken atomic.Value
				work.Go(func() {
					err := r.broker.Consume(ctx, pipeline.ImageUpload.Name, 1, func(_ context.Context, dv broker.Delivery) error {
						taken.Store(string(dv.Body))
						return dv.Ack()
					})
					if err != nil {
						t.Error(err)
					}
				})
				settle(10 * time.Minute)
				if got := taken.Load(); got != body {
					t.Errorf("the new consumer got %v, want %s", got, body)
				}
			})
		})
	}
}

// TestOlderVersionIsTaken verifies that messages of the previous release are processed,
// and that the output has the version of the input.
func TestOlderVersionIsTaken(t *testing.T) {
	for version := pipeline.OldestVersion; version <= pipeline.Version; version++ {
		golden, err := os.ReadFile(fmt.Sprintf("../pipeline/testdata/v%d/upload.json", version))
		if err != nil {
			t.Fatal(err)
		}
		for _, fails := range []bool{false, true} {
			inBubble(t, func(t *testing.T, r *rig, ctx context.Context, work *sync.WaitGroup) {
				r.run(ctx, work, r.deps(), func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
					if fails {
						return pipeline.Analysis{}, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged JPEG"}
					}
					return analysis(u)
				})
				if err := r.broker.Publish(ctx, pipeline.ImageUpload.Name, broker.Message{Body: golden}); err != nil {
					t.Fatal(err)
				}
				settle(time.Minute)
				out := pipeline.MetadataGenerated.Name
				if fails {
					out = pipeline.ImageProcessed.Name
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if len(r.got[out]) != 1 || pipeline.VersionOf(r.got[out][0]) != version {
					t.Errorf("a message of version %d produced %q, want one message of the same version", version, r.got[out])
				}
			})
		}
	}
}
