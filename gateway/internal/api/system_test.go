package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
	"github.com/imagebatch/imagebatch/shared/service"
)

// inspected is a broker whose inspections are counted, and block or fail on demand.
type inspected struct {
	broker.Browser
	times atomic.Int64
	fault atomic.Pointer[error]
	gate  chan struct{} // each inspection waits until it is closed
}

func (b *inspected) Inspect(ctx context.Context, queues ...string) (map[string]broker.QueueState, error) {
	b.times.Add(1)
	select {
	case <-b.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := b.fault.Load(); err != nil {
		return nil, *err
	}
	return b.Browser.Inspect(ctx, queues...)
}

// inspectedRig is a server with such a broker, whose inspections do not block.
func inspectedRig(t *testing.T) (*rig, *inspected) {
	t.Helper()
	b := &inspected{gate: make(chan struct{})}
	close(b.gate)
	return setup(t, options{listener: newPipes(), browser: func(inner broker.Browser) broker.Browser {
		b.Browser = inner
		return b
	}}), b
}

// systemBody is the body of the response.
type systemBody struct {
	Version, Go  string
	StartedAt    time.Time `json:"started_at"`
	Dependencies []map[string]any
	Queues       []map[string]any
	Work         map[string]any
	Links        map[string]string
}

func (r *rig) system() (got systemBody) {
	r.Helper()
	r.json("/api/v1/system", &got)
	return got
}

// TestSystem verifies what an operator sees of the gateway, its servers and its work.
func TestSystem(t *testing.T) {
	var broken atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		started := time.Now().UTC().Truncate(time.Second)
		r := setup(t, options{
			listener: newPipes(), config: api.Config{Links: api.Links{Grafana: "https://grafana.example.com/d/1"}},
			dependencies: func(context.Context) []service.Dependency {
				found := []service.Dependency{{Name: "broker"}, {Name: "job store"}}
				if broken.Load() {
					found[1].Err = errors.New("disk is full")
				}
				return found
			},
		})
		time.Sleep(time.Minute)
		r.create(2)
		opened := time.Now().UTC().Truncate(time.Second)
		time.Sleep(time.Hour)
		ended := r.create(1)
		r.end(ended, 0, nil)
		for queue, n := range map[string]int{
			"image_upload": 3, broker.QuarantineQueue("image_upload"): 1, broker.DeadQueue("image_upload"): 2, "image_processed": 1,
			broker.RetryQueue("metadata_generated", broker.RetryDelays[1]): 1, broker.RetryQueue("metadata_generated", broker.RetryDelays[2]): 2,
		} {
			for range n {
				r.must(r.broker.Publish(t.Context(), queue, broker.Message{Body: []byte("x")}))
			}
		}
		consuming, stop := context.WithCancel(t.Context())
		consumed := make(chan error, 1)
		go func() {
			consumed <- r.broker.Consume(consuming, "image_processed", 1, func(context.Context, broker.Delivery) error { return nil })
		}()
		synctest.Wait()

		got := r.system()
		if got.Version != buildinfo.Version || got.Go != runtime.Version() || !got.StartedAt.Equal(started) {
			t.Errorf("got version %s with %s since %s, want %s with %s since %s", got.Version, got.Go, got.StartedAt, buildinfo.Version, runtime.Version(), started)
		}
		for i, want := range []string{
			"map[consumers:0 dead:2 messages:3 name:image_upload quarantine:1 retry:0]", "map[consumers:0 dead:0 messages:0 name:image_described quarantine:0 retry:0]",
			"map[consumers:0 dead:0 messages:0 name:metadata_generated quarantine:0 retry:3]", "map[consumers:1 dead:0 messages:0 name:image_processed quarantine:0 retry:0]",
		} {
			if fmt.Sprint(got.Queues[i]) != want {
				t.Errorf("queue %d: got %v, want %s", i, got.Queues[i], want)
			}
		}
		work := fmt.Sprintf("map[jobs:2 oldest_open:%s open_images:2 unsent:2]", opened.Format(time.RFC3339))
		if deps := fmt.Sprint(got.Dependencies); fmt.Sprint(got.Work) != work || deps != "[map[name:broker ready:true] map[name:job store ready:true]]" {
			t.Errorf("got %v and %s, want %s and two that are ready", got.Work, deps, work)
		}
		if fmt.Sprint(got.Links) != "map[grafana:https://grafana.example.com/d/1]" {
			t.Errorf("got the links %v", got.Links)
		}
		stop()
		r.must(<-consumed)

		// A job store that is unavailable leaves out its numbers only.
		broken.Store(true)
		breakWith(&r.jobs.fault, job.ErrUnavailable)
		time.Sleep(2 * time.Second)
		got = r.system()
		if deps := fmt.Sprint(got.Dependencies); got.Work != nil || len(got.Queues) != 4 || deps != "[map[name:broker ready:true] map[name:job store ready:false reason:disk is full]]" {
			t.Errorf("without a job store: got %+v", got)
		}
	})
}

// TestSystemIsReadOnce verifies that concurrent requests share one inspection of the broker, that
// another follows only when it is two seconds old, and that the end of a request does not end it.
func TestSystemIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, b := inspectedRig(t)
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() { r.get("/api/v1/system") })
		}
		asking.Wait()
		time.Sleep(time.Second)
		r.get("/api/v1/system")
		if n := b.times.Load(); n != 1 {
			t.Errorf("21 requests within two seconds inspected the broker %d times", n)
		}
		time.Sleep(time.Second)
		r.get("/api/v1/system")
		if n := b.times.Load(); n != 2 {
			t.Errorf("after two seconds, the broker was inspected %d times, want 2", n)
		}

		time.Sleep(2 * time.Second)
		b.gate = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		broken := make(chan error, 1)
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/system", nil)
			if err == nil {
				_, err = r.client.Do(req) //nolint:bodyclose // It fails.
			}
			broken <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-broken; !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled request: got %v", err)
		}
		waiting := make(chan systemBody, 1)
		go func() { waiting <- r.system() }()
		synctest.Wait()
		close(b.gate)
		if got := <-waiting; b.times.Load() != 3 || got.Queues[0]["messages"] != 0.0 {
			t.Errorf("after a request was cancelled, the broker was inspected %d times, want 3; the next request got %v", b.times.Load(), got.Queues)
		}
	})
}

// TestSystemWithoutBroker verifies that a broker that fails, or that does not respond, leaves out
// its numbers and nothing else, and that the response comes in time.
func TestSystemWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, b := inspectedRig(t)
		r.create(1)
		without := func(name string) {
			t.Helper()
			asked := time.Now()
			got := r.system()
			if took := time.Since(asked); took > 2*time.Second {
				t.Errorf("%s: took %s", name, took)
			}
			if fmt.Sprint(got.Queues) != "[map[name:image_upload] map[name:image_described] map[name:metadata_generated] map[name:image_processed]]" || got.Work["open_images"] != 1.0 {
				t.Errorf("%s: got %v and %v, want only names, and one open image", name, got.Queues, got.Work)
			}
			time.Sleep(2 * time.Second)
		}
		fix := breakWith(&b.fault, broker.ErrUnavailable)
		without("a broker that fails")
		fix()
		b.gate = make(chan struct{})
		without("a broker that does not respond")
		close(b.gate)
		if got := r.system(); got.Queues[0]["messages"] != 0.0 {
			t.Errorf("after the outage: got %v", got.Queues)
		}
	})
}

// TestSystemOfOperatorsOnly verifies that another key gets a 403.
func TestSystemOfOperatorsOnly(t *testing.T) {
	keys := newKeyFile(t, "anna", "ops operator")
	r := setup(t, options{keys: keys.Store})
	wantError(t, r.get("/api/v1/system"), 401, "API key required")
	wantError(t, r.as(keys, "anna", "GET", "/api/v1/system", ""), 403, "API key is not an operator's")
	got := r.as(keys, "ops", "GET", "/api/v1/system", "")
	var body systemBody
	if err := json.Unmarshal(got.body, &body); err != nil || got.status != 200 || len(body.Queues) != 4 || len(body.Links) != 0 {
		t.Errorf("the operator gets %d %s", got.status, got.body)
	}
}
