package intake

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

// faulty is a broker whose publishes can fail on demand.
type faulty struct {
	broker.Broker
	fault atomic.Pointer[error]
	tries atomic.Int64

	mu   sync.Mutex // guards hook
	hook func(context.Context, bool) error
}

func (f *faulty) Publish(ctx context.Context, queue string, m broker.Message) error {
	f.tries.Add(1)
	if err := f.fault.Load(); err != nil {
		return *err
	}
	return f.Broker.Publish(ctx, queue, m)
}

// OnSession stores the hook so that the test can call it.
func (f *faulty) OnSession(_, _ string, hook func(context.Context, bool) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func TestCrashBetweenPublishAndMarkResends(t *testing.T) {
	r := setup(t)
	r.jobs.set(true, "MarkSent", func() error { return job.ErrUnavailable })
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{Data: jpegBytes(0)})
	first := r.awaitUploads(1)
	stop()
	if r.unsent() != 1 {
		t.Fatal("an upload that was not marked sent counts as sent")
	}
	r.jobs.set(true, "MarkSent", nil)
	r.run("gateway-2")
	again := r.awaitUploads(1)
	if again[0].TraceID != first[0].TraceID || again[0].OriginalPath != first[0].OriginalPath || again[0].JobID != j.ID {
		t.Errorf("sent %+v, then %+v, want the same image twice", first[0], again[0])
	}
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
}

func TestUnroutedUploadsAreNotMarkedSent(t *testing.T) {
	for _, fault := range []error{broker.ErrNoRoute, broker.ErrUnavailable, errors.New("channel exception")} {
		t.Run(fault.Error(), func(t *testing.T) {
			r := setup(t)
			b := &faulty{Broker: r.broker}
			b.fault.Store(&fault)
			in := r.intake("gateway-1", b)
			r.start(in)
			r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
			brokertest.Await(r.t, "several attempts", func() bool { return b.tries.Load() >= 6 })
			if r.unsent() != 2 {
				t.Errorf("%d unsent, want 2", r.unsent())
			}
			b.fault.Store(nil)
			r.awaitUploads(2)
			brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
		})
	}
}

func TestRelaySendsMoreThanOneBatch(t *testing.T) {
	r := setup(t)
	in := r.intake("gateway-1", r.broker)
	const jobs, images = 4, 100
	for i := range jobs {
		var list []job.Image
		for range images {
			list = append(list, job.Image{Original: job.Original{Path: "a/b.jpg", ContentType: "image/jpeg", Size: 1}})
		}
		if err := r.jobs.Create(t.Context(), job.New(uuid.NewString(), list, time.Now())); err != nil {
			t.Fatal(i, err)
		}
	}
	in.wakeRelay()
	r.start(in)
	uploads := r.awaitUploads(jobs * images)
	ids := slices.CompactFunc(uploads, func(a, b pipeline.Upload) bool { return a.TraceID == b.TraceID })
	if len(ids) != jobs*images {
		t.Errorf("%d images were sent, want %d", len(ids), jobs*images)
	}
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
}

func TestEmptyBrokerGetsAllOpenImages(t *testing.T) {
	r := setup(t)
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)}, Source{Data: jpegBytes(2)})
	r.awaitUploads(3)
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
	r.complete(in, j, 1)
	stop()

	r.broker.Close()
	r.broker = membroker.New(pipeline.WorkQueues()...)
	r.run("gateway-2")
	again := r.awaitUploads(2)
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
	for _, u := range again {
		if u.Index == 1 {
			t.Error("an image that has ended was sent again")
		}
	}
	if n := r.broker.Len(pipeline.ImageUpload.Name); n != 0 {
		t.Errorf("%d more were sent, want 0", n)
	}
}

func TestKnownBrokerGetsNoResends(t *testing.T) {
	r := setup(t)
	b := &faulty{Broker: r.broker}
	in := r.intake("gateway-1", b)
	r.start(in)
	r.batch(in, Source{Data: jpegBytes(0)})
	r.awaitUploads(1)
	brokertest.Await(r.t, "sent outbox", func() bool { return r.unsent() == 0 })
	if err := b.hook(t.Context(), false); err != nil || r.unsent() != 0 {
		t.Errorf("a session with a known broker left %d unsent (%v), want 0 and nil", r.unsent(), err)
	}
	if err := b.hook(t.Context(), true); err != nil {
		t.Error(err)
	}
	r.awaitUploads(1)
}

// watchStuck runs relay and resendStuck in a synctest bubble.
func (r *rig) watchStuck(in *Intake) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() { in.relay(ctx) })
	running.Go(func() { in.resendStuck(ctx) })
	synctest.Wait() // The session has started and has sent the older images.
	return func() {
		cancel()
		running.Wait()
		r.close()
	}
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestLostMessagesAreSentAgain removes messages from their queue.
func TestLostMessagesAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t)
		in := r.intake("gateway-1", r.broker)
		stop := r.watchStuck(in)
		j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
		r.awaitUploads(2)
		// For an hour the pipeline makes progress.
		for range 20 {
			sleep(3 * time.Minute)
			in.Settled()
		}
		sent := func() int { return r.broker.Len(pipeline.ImageUpload.Name) }
		if n := sent(); n != 0 {
			t.Errorf("%d sent again while the pipeline made progress, want 0", n)
		}
		sleep(quietFor + 2*quietTick)
		if n := sent(); n != 2 {
			t.Errorf("%d sent again after %s without progress, want 2", n, quietFor)
		}
		// They are lost repeatedly: the interval between resends grows.
		times := 0
		for range 3 * 60 {
			if sent() > 0 {
				times++
				r.awaitUploads(2)
			}
			sleep(time.Minute)
		}
		if times < 3 || times > 6 {
			t.Errorf("sent again %d times in three hours without progress, want 3 to 6", times)
		}
		r.settle(in, j, 0, pipeline.Ended(pipeline.NewEnvelope(j.ID, 0, time.Now()), "x/y", time.Now()))
		sleep(quietFor + 2*quietTick)
		if n := sent(); n != 1 {
			t.Errorf("%d sent again, want only the open one", n)
		}
		stop()
	})
}

// TestBacklogIsNotResent verifies that images are not sent again while their messages wait
// for a worker, in any queue and for any time, or while a worker processes them for as long as
// it may.
func TestBacklogIsNotResent(t *testing.T) {
	waits := []string{
		pipeline.ImageUpload.Name, pipeline.ImageDescribed.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name,
		broker.QuarantineQueue(pipeline.MetadataGenerated.Name), broker.DeadResults,
	}
	for _, queue := range waits {
		t.Run(queue, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t)
				in := r.intake("gateway-1", r.broker)
				stop := r.watchStuck(in)
				r.batch(in, Source{Data: jpegBytes(0)})
				r.awaitUploads(1)
				if err := r.broker.Publish(t.Context(), queue, broker.Message{}); err != nil {
					t.Fatal(err)
				}
				sleep(2 * time.Hour)
				want := 0
				if queue == pipeline.ImageUpload.Name {
					want = 1
				}
				if n := r.broker.Len(pipeline.ImageUpload.Name); n != want {
					t.Errorf("%d uploads wait after two hours, want %d", n, want)
				}
				stop()
			})
		})
	}
	t.Run("in flight and delayed repeatedly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t)
			in := r.intake("gateway-1", r.broker)
			stop := r.watchStuck(in)
			r.batch(in, Source{Data: jpegBytes(0)})
			ctx, cancel := context.WithCancel(t.Context())
			finished := make(chan struct{})
			go func() {
				defer close(finished)
				err := r.broker.Consume(ctx, pipeline.ImageUpload.Name, 8, func(work context.Context, d broker.Delivery) error {
					time.Sleep(stage.MaxHold - time.Second)
					longest := broker.RetryDelays[len(broker.RetryDelays)-1]
					return errors.Join(r.broker.Publish(work, broker.RetryQueue(pipeline.ImageUpload.Name, longest), d.Message), d.Ack())
				})
				if err != nil {
					t.Error(err)
				}
			}()
			for range 2 * 60 {
				sleep(time.Minute)
				n := r.broker.Len(pipeline.ImageUpload.Name)
				for _, d := range broker.RetryDelays {
					n += r.broker.Len(broker.RetryQueue(pipeline.ImageUpload.Name, d))
				}
				if n != 1 {
					t.Errorf("%d uploads, want 1", n)
					break
				}
			}
			cancel()
			<-finished
			stop()
		})
	})
	t.Run("queue depth unknown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t)
			in := r.intake("gateway-1", depthless{r.broker})
			stop := r.watchStuck(in)
			r.batch(in, Source{Data: jpegBytes(0)})
			r.awaitUploads(1)
			sleep(2 * time.Hour)
			if n := r.broker.Len(pipeline.ImageUpload.Name); n != 0 {
				t.Errorf("%d uploads were sent again, want 0", n)
			}
			stop()
		})
	})
}

// depthless is a broker that cannot report queue depths.
type depthless struct{ broker.Broker }

func (depthless) Depth(context.Context, ...string) (int, error) { return 0, broker.ErrUnavailable }
