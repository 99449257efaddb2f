package api_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(crowd); order != "" {
		if err := beCrowd(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// shakyJobs is the real store, with faults on demand.
type shakyJobs struct {
	*sqlstore.Store
	fault atomic.Pointer[error]
}

func (s *shakyJobs) err() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *shakyJobs) Get(ctx context.Context, id string) (*job.Job, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, id)
}

func (s *shakyJobs) Changes(ctx context.Context, id string, after int64) (*job.Job, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Changes(ctx, id, after)
}

func (s *shakyJobs) List(ctx context.Context, q job.Query) (job.Page, error) {
	if err := s.err(); err != nil {
		return job.Page{}, err
	}
	return s.Store.List(ctx, q)
}

func (s *shakyJobs) Create(ctx context.Context, j *job.Job) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.Store.Create(ctx, j)
}

func (s *shakyJobs) Count(ctx context.Context) (job.Counts, error) {
	if err := s.err(); err != nil {
		return job.Counts{}, err
	}
	return s.Store.Count(ctx)
}

func (s *shakyJobs) Tally(ctx context.Context, v job.Viewer, most int) (job.Tally, error) {
	if err := s.err(); err != nil {
		return job.Tally{}, err
	}
	return s.Store.Tally(ctx, v, most)
}

// shakyObjects is a real store, with faults on demand.
type shakyObjects struct {
	objectstore.Store
	fault atomic.Pointer[error]
	short atomic.Bool              // true: bodies end early
	get   atomic.Pointer[storeGet] // nil: the store's
	part  atomic.Pointer[func()]   // called before each GetPart
}

type storeGet func(ctx context.Context, key string) (*objectstore.Object, error)

func (s *shakyObjects) Put(ctx context.Context, key string, c objectstore.Content) error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return s.Store.Put(ctx, key, c)
}

func (s *shakyObjects) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	if err := s.fault.Load(); err != nil {
		return nil, *err
	}
	get := s.Store.Get
	if other := s.get.Load(); other != nil {
		get = *other
	}
	o, err := get(ctx, key)
	if err == nil && s.short.Load() {
		o.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(o.Body, 10), broken{}), o.Body}
	}
	return o, err
}

func (s *shakyObjects) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if err := s.fault.Load(); err != nil {
		return objectstore.Info{}, *err
	}
	return s.Store.Stat(ctx, key)
}

func (s *shakyObjects) GetPart(ctx context.Context, key, etag string, offset, length int64) (*objectstore.Object, error) {
	if before := s.part.Load(); before != nil {
		(*before)()
	}
	return s.Store.GetPart(ctx, key, etag, offset, length)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, objectstore.ErrUnavailable }

// rig is a server on a real listener with real dependencies, except the pipeline: the
// test ends the images itself.
type rig struct {
	testing.TB
	url       string
	api       *api.Server
	jobs      *shakyJobs
	originals *shakyObjects
	processed *shakyObjects
	hub       *progress.Hub
	broker    *membroker.Broker
	client    *http.Client
	metrics   *telemetry.Registry
	database  string       // file of the job store
	stop      func() error // ends Serve and returns what it returned
}

type options struct {
	config   api.Config
	intake   intake.Config
	progress progress.Config
	ops      http.Handler
	keys     *apikey.Store
	browser  func(broker.Browser) broker.Browser // default: the broker itself
	now      func() time.Time                    // default: time.Now

	dependencies func(context.Context) []service.Dependency // default: none

	log io.Writer

	listener *pipes                                                                 // default: TCP
	run      func(ctx context.Context, serve func(ctx context.Context) error) error // default: serve alone
}

// migrated returns the file of an empty store. Each test starts with a copy, because the
// migrations are much slower.
var migrated = sync.OnceValues(func() (data []byte, err error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "jobs.db")
	store, err := sqlstore.OpenSQLite(context.Background(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil { // which moves the write-ahead log into the file
		return nil, err
	}
	return os.ReadFile(path)
})

func setup(t testing.TB, o options) *rig {
	t.Helper()
	if o.log == nil {
		o.log = io.Discard
	}
	log := slog.New(slog.NewJSONHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := &rig{TB: t}
	empty, err := migrated()
	r.must(err)
	path := filepath.Join(t.TempDir(), "jobs.db")
	r.must(os.WriteFile(path, empty, 0o600))
	store, err := sqlstore.OpenSQLite(t.Context(), path, log)
	r.must(err)
	t.Cleanup(func() { r.must(store.Close()) })
	r.jobs, r.database = &shakyJobs{Store: store}, path
	open := func() *shakyObjects {
		s, err := dirstore.Open(t.TempDir())
		r.must(err)
		return &shakyObjects{Store: s}
	}
	r.originals, r.processed = open(), open()

	m := telemetry.NewRegistry()
	r.metrics = m
	o.intake.MaxImageBytes, o.intake.MaxBatchImages = o.config.MaxImageBytes, o.config.MaxBatchImages
	r.hub = progress.New(o.progress, r.jobs, log, m)
	queue := membroker.New(deadletter.Queues...)
	r.broker = queue
	t.Cleanup(func() { r.must(queue.Close()) }) // its session hook uses the store
	in := intake.New(o.intake, intake.Deps{
		Jobs: r.jobs, Outbox: r.jobs, Retention: r.jobs, Originals: r.originals, Processed: r.processed, Broker: queue,
		Changed: func(_ context.Context, id string, revision int64) {
			r.hub.Notify(pipeline.ChangeNotification{JobID: id, Revision: revision})
		},
		Log: log, Metrics: m, Owner: "test",
	})
	var browser broker.Browser = queue
	if o.browser != nil {
		browser = o.browser(queue)
	}
	r.api = api.New(o.config, api.Deps{
		Jobs: r.jobs, Webhooks: r.jobs, Downloads: r.jobs, Deliver: func() {}, Originals: r.originals, Processed: r.processed, Intake: in, Hub: r.hub, Broker: queue, Browser: browser, Keys: o.keys, Ops: o.ops, Log: log, Metrics: m, Now: o.now, Dependencies: o.dependencies,
	})

	transport := &http.Transport{DisableCompression: true}
	var listener net.Listener = o.listener
	if o.listener != nil {
		transport.DialContext = o.listener.dial
	} else {
		listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		r.must(err)
	}
	r.url = "http://" + listener.Addr().String()
	if o.run == nil {
		o.run = func(ctx context.Context, serve func(context.Context) error) error { return serve(ctx) }
	}
	r.client = &http.Client{Transport: transport, Timeout: time.Minute}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	watching, endWatching := context.WithCancel(context.WithoutCancel(t.Context()))
	hubDone, served := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(hubDone)
		r.hub.Run(watching)
	}()
	var serveErr error
	go func() {
		defer close(served)
		serveErr = o.run(ctx, func(ctx context.Context) error { return r.api.Serve(ctx, listener) })
	}()
	r.stop = func() error {
		cancel()
		<-served
		return serveErr
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		endWatching()
		<-hubDone
	})
	return r
}

// scrape returns the metrics.
func (r *rig) scrape() string {
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// noSockets waits until the last socket has ended. A socket counts from before its upgrade.
func (r *rig) noSockets() {
	for {
		if strings.Contains(r.scrape(), "\nimagebatch_progress_watchers 0\n") {
			return
		}
		runtime.Gosched()
	}
}

// untilClosed waits until the server accepts no more connections.
func (r *rig) untilClosed() {
	for {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.url+"/", nil)
		r.must(err)
		resp, err := r.client.Do(req)
		if err != nil {
			return
		}
		resp.Body.Close()
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// response is a response with its body.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (r *rig) do(method, path string, body io.Reader, header ...string) response {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, body)
	r.must(err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := r.client.Do(req)
	r.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	r.must(err)
	return response{resp.StatusCode, resp.Header, data}
}

func (r *rig) get(path string) response { r.Helper(); return r.do(http.MethodGet, path, nil) }

func (r *rig) json(path string, v any) {
	r.Helper()
	got := r.get(path)
	if got.status != http.StatusOK {
		r.Fatalf("GET %s: %d %s", path, got.status, got.body)
	}
	r.must(json.Unmarshal(got.body, v))
}

// create creates a job of n inline images and returns its ID.
func (r *rig) create(n int) string {
	r.Helper()
	data := base64.StdEncoding.EncodeToString(tinyPNG(r))
	var images []string
	for i := range n {
		images = append(images, fmt.Sprintf(`{"base64":%q,"name":"image%d.png"}`, data, i+1))
	}
	got := r.do(http.MethodPost, "/api/v1/batch", strings.NewReader(`{"images":[`+strings.Join(images, ",")+`]}`))
	if got.status != http.StatusCreated {
		r.Fatalf("POST: %d %s", got.status, got.body)
	}
	var created struct {
		JobID string `json:"job_id"`
	}
	r.must(json.Unmarshal(got.body, &created))
	return created.JobID
}

// tinyPNG returns a small PNG.
func tinyPNG(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// end ends an image as the pipeline does. It may be called from any goroutine.
func (r *rig) end(id string, index int, failure *pipeline.Failure) {
	now := time.Now()
	e := pipeline.NewEnvelope(id, index, now)
	path := pipeline.ProcessedKey(e.TraceID, fmt.Sprintf("x/image%d.png", index+1))
	result := pipeline.Ended(e, path, now)
	if failure != nil {
		result = failure.Result(e, now)
	} else {
		for key, data := range map[string]string{
			path: "the image", pipeline.ThumbnailKey(path): "the thumbnail", pipeline.RecordKey(path): `{"format":"png"}`,
			pipeline.SidecarKey(path): "<x:xmpmeta/>",
		} {
			if err := r.processed.Store.Put(r.Context(), key, objectstore.Content{Data: []byte(data), Type: "text/html"}); err != nil {
				r.Error(err)
			}
		}
	}
	j, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: id, Index: index}, job.Settle(result, now), now)
	if err != nil {
		r.Error(err)
		return
	}
	r.hub.Notify(pipeline.ChangeNotification{JobID: id, Revision: j.Revision})
}

// tomorrow is a time at which results of now may have been deleted.
func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

var errDamaged = &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image"}

// breakWith makes a store fail until the test ends or fix is called.
func breakWith(fault *atomic.Pointer[error], err error) (fix func()) {
	err = fmt.Errorf("inside: %w", err)
	fault.Store(&err)
	return func() { fault.Store(nil) }
}

var errStrange = errors.New("a secret of the inside")
