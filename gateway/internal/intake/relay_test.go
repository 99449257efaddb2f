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

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// faulty is a broker whose publishes can be made to fail.
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

// OnSession keeps the hook for the test to call.
func (f *faulty) OnSession(_ string, hook func(context.Context, bool) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func TestCrashBetweenPublishAndMarkSendsAgain(t *testing.T) {
	r := setup(t)
	r.jobs.set(true, "MarkSent", func() error { return job.ErrUnavailable })
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{Data: jpegBytes(0)})
	first := r.awaitUploads(1)
	stop()
	if r.unsent() != 1 {
		t.Fatal("an upload that was never marked counts as sent")
	}
	r.jobs.set(true, "MarkSent", nil)
	r.run("gateway-2")
	again := r.awaitUploads(1)
	if again[0].TraceID != first[0].TraceID || again[0].OriginalPath != first[0].OriginalPath || again[0].JobID != j.ID {
		t.Errorf("sent %+v, then %+v", first[0], again[0])
	}
	r.await("sent outbox", func() bool { return r.unsent() == 0 })
}

func TestNothingUnroutedCountsAsSent(t *testing.T) {
	for _, fault := range []error{broker.ErrNoRoute, broker.ErrUnavailable, errors.New("channel exception")} {
		t.Run(fault.Error(), func(t *testing.T) {
			r := setup(t)
			b := &faulty{Broker: r.broker}
			b.fault.Store(&fault)
			in := r.intake("gateway-1", b)
			r.start(in)
			r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
			r.await("several tries", func() bool { return b.tries.Load() >= 6 })
			if r.unsent() != 2 {
				t.Errorf("%d unsent, want 2", r.unsent())
			}
			b.fault.Store(nil)
			r.awaitUploads(2)
			r.await("sent outbox", func() bool { return r.unsent() == 0 })
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
		if err := r.jobs.Create(t.Context(), job.New(newID(), list, time.Now())); err != nil {
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
	r.await("sent outbox", func() bool { return r.unsent() == 0 })
}

func TestNewBrokerGetsEveryOpenImageAgain(t *testing.T) {
	r := setup(t)
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)}, Source{Data: jpegBytes(2)})
	r.awaitUploads(3)
	r.await("sent outbox", func() bool { return r.unsent() == 0 })
	r.complete(in, j, 1)
	stop()

	r.broker.Close()
	r.broker = membroker.New(pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name)
	r.run("gateway-2")
	again := r.awaitUploads(2)
	r.await("sent outbox", func() bool { return r.unsent() == 0 })
	for _, u := range again {
		if u.Index == 1 {
			t.Error("an image that has ended was sent again")
		}
	}
	if n := r.broker.Len(pipeline.ImageUpload.Name); n != 0 {
		t.Errorf("%d more were sent", n)
	}
}

func TestKnownBrokerGetsNothingAgain(t *testing.T) {
	r := setup(t)
	b := &faulty{Broker: r.broker}
	in := r.intake("gateway-1", b)
	r.start(in)
	r.batch(in, Source{Data: jpegBytes(0)})
	r.awaitUploads(1)
	r.await("sent outbox", func() bool { return r.unsent() == 0 })
	if err := b.hook(t.Context(), false); err != nil || r.unsent() != 0 {
		t.Errorf("a session with a broker that we know made %d unsent (%v)", r.unsent(), err)
	}
	if err := b.hook(t.Context(), true); err != nil {
		t.Error(err)
	}
	r.awaitUploads(1)
}

func TestStuckImagesAreSentAgainOnlyWhenNothingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t)
		in := r.intake("gateway-1", r.broker)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { in.relay(ctx) })
		running.Go(func() { in.resendStuck(ctx) })
		j := r.batch(in, Source{Data: jpegBytes(0)}, Source{Data: jpegBytes(1)})
		sent := func() int {
			t.Helper()
			synctest.Wait()
			return r.broker.Len(pipeline.ImageUpload.Name)
		}
		sleep := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		sleep(time.Second)
		if n := sent(); n != 2 {
			t.Fatalf("%d sent, want 2", n)
		}
		// For an hour the pipeline gets on, slowly: the two wait for their turn.
		for range 20 {
			sleep(3 * time.Minute)
			in.Settled()
		}
		if n := sent(); n != 2 {
			t.Errorf("%d sent while the pipeline got on, want 2", n)
		}
		sleep(quietFor + 2*quietTick)
		if n := sent(); n != 4 {
			t.Errorf("%d sent after nothing had moved for %s, want 4", n, quietFor)
		}
		// Nothing comes of it: the backlog is not doubled every five minutes.
		sleep(3 * time.Hour)
		if n := sent(); n > 4+2*4 {
			t.Errorf("%d sent after hours at a stop", n)
		}
		before := sent()
		r.settle(in, j, 0, pipeline.Ended(pipeline.NewEnvelope(j.ID, 0, time.Now()), "x/y", time.Now()))
		sleep(2*quietFor + 2*quietTick)
		if n := sent(); n != before+1 {
			t.Errorf("%d sent once more, want only the one that is open", n-before)
		}
		stop()
		running.Wait()
		r.close()
	})
}
