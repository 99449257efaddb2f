package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jobStore is the real store with injected faults: a fault that returns an error replaces the
// call, and after replaces the result of the call.
type jobStore struct {
	*sqlstore.Store
	mu    sync.Mutex // guards faults
	fault map[string]func() error
	after map[string]func() error
}

func (s *jobStore) set(before bool, method string, f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before {
		s.fault[method] = f
	} else {
		s.after[method] = f
	}
}

func (s *jobStore) run(method string, do func() error) error {
	s.mu.Lock()
	before, after := s.fault[method], s.after[method]
	s.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	if err := do(); err != nil || after == nil {
		return err
	}
	return after()
}

func (s *jobStore) Create(ctx context.Context, j *job.Job) error {
	return s.run("Create", func() error { return s.Store.Create(ctx, j) })
}

func (s *jobStore) Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error {
	return s.run("Reserve", func() error { return s.Store.Reserve(ctx, id, l, k) })
}

func (s *jobStore) MarkSent(ctx context.Context, sent []job.Unsent) error {
	return s.run("MarkSent", func() error { return s.Store.MarkSent(ctx, sent) })
}

func (s *jobStore) Delete(ctx context.Context, id string) error {
	return s.run("Delete", func() error { return s.Store.Delete(ctx, id) })
}

func (s *jobStore) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (j *job.Job, changed bool, err error) {
	err = s.run("Change", func() error {
		j, changed, err = s.Store.Change(ctx, ref, t, now)
		return err
	})
	return j, changed, err
}

// objects is a real store with injected faults.
type objects struct {
	objectstore.Store
	fault atomic.Pointer[func(method, key string) error]
	begun atomic.Pointer[chan struct{}]
}

func (o *objects) fail(f func(method, key string) error) { o.fault.Store(&f) }

func (o *objects) trouble(method, key string) error {
	if f := o.fault.Load(); f != nil && *f != nil {
		return (*f)(method, key)
	}
	return nil
}

// hang lets every Put wait for the end of its context. It closes begun at the first one.
func (o *objects) hang(begun chan struct{}) { o.begun.Store(&begun) }

func (o *objects) Put(ctx context.Context, key string, c objectstore.Content) error {
	if begun := o.begun.Load(); begun != nil {
		close(*begun)
		<-ctx.Done()
		return ctx.Err() //nolint:wrapcheck // The caller's own.
	}
	if err := o.trouble("Put", key); err != nil {
		return err
	}
	return o.Store.Put(ctx, key, c)
}

func (o *objects) Delete(ctx context.Context, key string) error {
	if err := o.trouble("Delete", key); err != nil {
		return err
	}
	return o.Store.Delete(ctx, key)
}

func (o *objects) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Info, error] {
	if err := o.trouble("List", prefix); err != nil {
		return func(yield func(objectstore.Info, error) bool) { yield(objectstore.Info{}, err) }
	}
	return o.Store.List(ctx, prefix)
}

// rig contains the real dependencies of an Intake.
type rig struct {
	t         testing.TB
	jobs      *jobStore
	originals *objects
	processed *objects
	broker    *membroker.Broker
	config    Config
	now       func() time.Time

	mu            sync.Mutex // guards notifications
	notifications []pipeline.ChangeNotification
}

func setup(t testing.TB) *rig {
	t.Helper()
	store, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "jobs.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	open := func() *objects {
		s, err := dirstore.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return &objects{Store: s}
	}
	r := &rig{
		t: t, jobs: &jobStore{Store: store, fault: map[string]func() error{}, after: map[string]func() error{}},
		originals: open(), processed: open(),
		broker: membroker.New(pipeline.WorkQueues()...),
		config: Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		now:    time.Now,
	}
	t.Cleanup(r.close)
	return r
}

// close stops the parts that run goroutines. A test in a synctest bubble calls it itself.
func (r *rig) close() {
	r.broker.Close()
	r.jobs.Close()
}

// intake returns an Intake that is not running.
func (r *rig) intake(owner string, b broker.Broker) *Intake {
	return New(r.config, Deps{
		Jobs: r.jobs, Outbox: r.jobs, Retention: r.jobs, Originals: r.originals, Processed: r.processed, Broker: b, Owner: owner, Now: r.now,
		Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
		Changed: func(_ context.Context, id string, revision int64) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notifications = append(r.notifications, pipeline.ChangeNotification{JobID: id, Revision: revision})
		},
	})
}

// run returns a running Intake; stop stops it and waits.
func (r *rig) run(owner string) (in *Intake, stop func()) {
	in = r.intake(owner, r.broker)
	// The session hook sends open images again, which would double those of a batch that came before it.
	brokertest.Await(r.t, "session", func() bool { return r.broker.Ready() == nil })
	return in, r.start(in)
}

func (r *rig) start(in *Intake) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run = %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// batch commits a job with the sources.
func (r *rig) batch(in *Intake, sources ...Source) *job.Job {
	r.t.Helper()
	b := in.Begin()
	for _, s := range sources {
		if err := b.Add(r.t.Context(), s); err != nil {
			r.t.Fatal(err)
		}
	}
	j, err := b.Commit(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

func (r *rig) get(id string) *job.Job {
	r.t.Helper()
	j, err := r.jobs.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// awaitFetched waits until every image has its original or has ended.
func (r *rig) awaitFetched(id string) *job.Job {
	r.t.Helper()
	var j *job.Job
	brokertest.Await(r.t, "fetched job", func() bool {
		j = r.get(id)
		return !slices.ContainsFunc(j.Images, func(i job.Image) bool { return i.ToFetch() })
	})
	return j
}

// awaitUploads waits until n Uploads are in the queue, removes them and returns them in the
// order of their trace IDs.
func (r *rig) awaitUploads(n int) []pipeline.Upload {
	r.t.Helper()
	brokertest.Await(r.t, fmt.Sprintf("%d uploads", n), func() bool { return r.broker.Len(pipeline.ImageUpload.Name) >= n })
	ctx, cancel := context.WithCancel(r.t.Context())
	var mu sync.Mutex
	var list []pipeline.Upload
	err := r.broker.Consume(ctx, pipeline.ImageUpload.Name, n, func(_ context.Context, d broker.Delivery) error {
		var u pipeline.Upload
		if err := json.Unmarshal(d.Body, &u); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if list = append(list, u); len(list) >= n {
			cancel()
		}
		return d.Ack()
	})
	cancel()
	if err != nil {
		r.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b pipeline.Upload) int {
		return bytes.Compare([]byte(a.TraceID), []byte(b.TraceID))
	})
	return list
}

func (r *rig) unsent() int {
	r.t.Helper()
	c, err := r.jobs.Count(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Unsent
}

// keys returns all keys of a store.
func (r *rig) keys(s objectstore.Store) []string {
	r.t.Helper()
	var list []string
	for info, err := range s.List(r.t.Context(), "") {
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, info.Key)
	}
	return list
}

// settle ends an image as the pipeline would.
func (r *rig) settle(in *Intake, j *job.Job, index int, result pipeline.Result) {
	r.t.Helper()
	if _, _, err := r.jobs.Change(r.t.Context(), job.Ref{JobID: j.ID, Index: index}, job.Settle(result, r.now()), r.now()); err != nil {
		r.t.Fatal(err)
	}
	in.Settled()
}

// complete ends an image as completed, with its objects.
func (r *rig) complete(in *Intake, j *job.Job, index int) {
	r.t.Helper()
	img := r.get(j.ID).Images[index]
	path := pipeline.ProcessedKey(img.TraceID, img.Original.Path)
	for _, key := range results(path) {
		if err := r.processed.Put(r.t.Context(), key, objectstore.Content{Data: []byte("x"), Type: "image/jpeg"}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.settle(in, j, index, pipeline.Ended(pipeline.NewEnvelope(j.ID, index, r.now()), path, r.now()))
}

func jpegBytes(seed int) []byte {
	img := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range img.Pix {
		img.Pix[i] = byte(i * (seed + 1))
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func pngBytes() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		panic(err)
	}
	return b.Bytes()
}
