package api_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestJobNotModified verifies that a client that has a job gets it again only after a change.
func TestJobNotModified(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	path := "/api/v1/batch/" + id
	first := r.get(path)
	tag := first.header.Get("ETag")
	opaque := strings.TrimPrefix(tag, "W/")
	if first.status != 200 || tag == opaque || len(opaque) < 3 {
		t.Fatalf("got %d with the tag %q, want a weak tag", first.status, tag)
	}
	if again := r.get(path); again.header.Get("ETag") != tag || string(again.body) != string(first.body) {
		t.Errorf("the same job: got the tag %q, want %q", again.header.Get("ETag"), tag)
	}
	for _, c := range []struct {
		given  []string
		status int
	}{
		{[]string{tag}, 304},
		{[]string{opaque}, 304},
		{[]string{"*"}, 304},
		{[]string{" * "}, 304},
		{[]string{`"x", ` + tag}, 304},
		{[]string{`"a,b",W/"c" ,, ` + tag + `, "d"`}, 304},
		{[]string{`"x"`, tag}, 304},
		{[]string{`"x"`}, 200},
		{[]string{""}, 200},
		{[]string{strings.Trim(opaque, `"`)}, 200},
		{[]string{opaque[:len(opaque)-1]}, 200},
		{[]string{`"x` + opaque}, 200},
		{[]string{"w/" + opaque}, 200},
		{[]string{`x, ` + tag}, 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			var header []string
			for _, value := range c.given {
				header = append(header, "If-None-Match", value)
			}
			if len(c.given) == 2 { // do sets each field once
				header = []string{"If-None-Match", strings.Join(c.given, ", ")}
			}
			got := r.do(method, path, nil, header...)
			if got.status != c.status {
				t.Errorf("%s with If-None-Match %q: got %d, want %d", method, c.given, got.status, c.status)
			}
			if got.status == 304 && (len(got.body) > 0 || got.header.Get("Content-Type") != "") {
				t.Errorf("%s with If-None-Match %q: the 304 has a body: %q %v", method, c.given, got.body, got.header)
			}
			h := got.header
			if h.Get("ETag") != tag || h.Get("Cache-Control") != "private, no-cache" || h.Get("Vary") != "Prefer" {
				t.Errorf("%s with If-None-Match %q: got %d with %v", method, c.given, got.status, h)
			}
		}
	}
	r.end(id, 0, nil)
	changed := r.do("GET", path, nil, "If-None-Match", tag)
	if changed.status != 200 || changed.header.Get("ETag") == tag || !strings.Contains(string(changed.body), `"completed":1`) {
		t.Errorf("after a change: got %d %v", changed.status, changed.header)
	}
	missing := r.do("GET", "/api/v1/batch/"+unknown, nil, "If-None-Match", "*")
	wantError(t, missing, 404, "Job not found: "+unknown)
	if h := missing.header; h.Get("ETag") != "" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("an error: got %v", h)
	}
}

// TestReleaseIsInTheTag verifies that another build's tag does not match: it may show a job in
// another way.
func TestReleaseIsInTheTag(t *testing.T) {
	r := setup(t, options{})
	path := "/api/v1/batch/" + r.create(1)
	before := r.get(path).header.Get("ETag")
	r.api.SetRelease("another")
	if got := r.do("GET", path, nil, "If-None-Match", before); got.status != 200 || got.header.Get("ETag") == before {
		t.Errorf("with the tag of another build: got %d with the tag %s", got.status, got.header.Get("ETag"))
	}
}

// wait requests a job whose tag the client has, and prefers to wait.
func (r *rig) wait(id, tag, prefer string, header ...string) response {
	r.Helper()
	return r.do("GET", "/api/v1/batch/"+id, nil, append([]string{"If-None-Match", tag, "Prefer", prefer}, header...)...)
}

func (r *rig) tag(id string, header ...string) string {
	r.Helper()
	got := r.do("GET", "/api/v1/batch/"+id, nil, header...)
	if got.header.Get("ETag") == "" {
		r.Fatalf("job %s: got %d %s", id, got.status, got.body)
	}
	return got.header.Get("ETag")
}

// failQuietly ends the first image of a job without a notification, as if that was lost.
func (r *rig) failQuietly(id string) {
	now := time.Now()
	result := errDamaged.Result(pipeline.NewEnvelope(id, 0, now), now)
	if _, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: id}, job.Settle(result, now), now); err != nil {
		r.Error(err)
	}
}

// wantWaited checks the response to a request that waited.
func wantWaited(t *testing.T, got response, status int, applied string, started time.Time, took time.Duration) {
	t.Helper()
	if got.status != status || got.header.Get("Preference-Applied") != applied || time.Since(started) != took {
		t.Errorf("got %d, Preference-Applied %q after %v; want %d, %q after %v", got.status, got.header.Get("Preference-Applied"), time.Since(started), status, applied, took)
	}
}

// TestWait verifies how long a request waits for a change, and what ends the wait.
func TestWait(t *testing.T) {
	t.Run("until the time is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(2)
			tag := r.tag(id)
			for prefer, c := range map[string]struct {
				took    time.Duration
				applied string
			}{
				"wait=7": {7 * time.Second, "wait=7"}, "Wait = \"7\"; x": {7 * time.Second, "wait=7"}, "respond-async, wait=3, wait=9": {3 * time.Second, "wait=3"},
				"wait=31": {30 * time.Second, "wait=30"}, "wait=99999999999999999999": {30 * time.Second, "wait=30"},
				"wait=0": {}, "wait": {}, "wait=-1": {}, "wait=1.5": {}, "wait=x, wait=9": {}, "waiting=9": {}, "": {},
			} {
				for _, method := range []string{"GET", "HEAD"} {
					started := time.Now()
					got := r.do(method, "/api/v1/batch/"+id, nil, "If-None-Match", tag, "Prefer", prefer)
					wantWaited(t, got, 304, c.applied, started, c.took)
					if got.header.Get("ETag") != tag || got.header.Get("Vary") != "Prefer" || got.header.Get("Cache-Control") != "private, no-cache" {
						t.Errorf("%s: got %v", prefer, got.header)
					}
				}
			}
			r.noSockets()
		})
	})
	t.Run("until a change", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(2)
			tag := r.tag(id)
			started := time.Now()
			time.AfterFunc(4*time.Second, func() { r.end(id, 0, nil) })
			got := r.wait(id, tag, "wait=20")
			wantWaited(t, got, 200, "wait=20", started, 4*time.Second)
			if !strings.Contains(string(got.body), `"completed":1`) || got.header.Get("ETag") != r.tag(id) {
				t.Errorf("got %s %s", got.header.Get("ETag"), got.body)
			}
			started = time.Now()
			wantWaited(t, r.wait(id, tag, "wait=20"), 200, "", started, 0) // The client missed the change.
			r.end(id, 1, nil)
			wantWaited(t, r.wait(id, r.tag(id), "wait=20"), 304, "", started, 0) // An ended job does not change.
			wantWaited(t, r.do("GET", "/api/v1/batch/"+id, nil, "Prefer", "wait=20"), 200, "", started, 0)
			r.noSockets()
		})
	})
	t.Run("until a change that no notification reports", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes(), progress: progress.Config{Reread: 5 * time.Second}})
			id := r.create(1)
			tag := r.tag(id)
			time.AfterFunc(time.Second, func() { r.failQuietly(id) })
			if got := r.wait(id, tag, "wait=20"); got.status != 200 || !strings.Contains(string(got.body), `"failed":1`) {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	})
	t.Run("until the job is deleted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(1)
			tag := r.tag(id)
			time.AfterFunc(time.Second, func() {
				r.failQuietly(id)
				if _, err := r.jobs.Hide(t.Context(), time.Now().Add(time.Hour), 1); err != nil {
					t.Error(err)
				}
			})
			wantError(t, r.wait(id, tag, "wait=20"), 404, "Job not found: "+id)
		})
	})
	t.Run("until the client disconnects", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes()})
			id := r.create(1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/batch/"+id, nil)
			r.must(err)
			req.Header = http.Header{"If-None-Match": {r.tag(id)}, "Prefer": {"wait=30"}}
			started := time.Now()
			if resp, err := r.client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
				resp.Body.Close()
				t.Errorf("got %v", err)
			}
			synctest.Wait()
			r.noSockets()
			if took := time.Since(started); took != time.Second {
				t.Errorf("the server waited for %v, want 1s", took)
			}
		})
	})
	t.Run("until the server shuts down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 2*time.Second)
			close(d.slow)
			id := d.create(1)
			tag := d.tag(id)
			time.AfterFunc(time.Second, d.stop)
			started := time.Now()
			got := d.wait(id, tag, "wait=30")
			wantWaited(t, got, 304, "wait=30", started, 3*time.Second)
			if got.header.Get("ETag") != tag {
				t.Errorf("got the tag %q, want %q", got.header.Get("ETag"), tag)
			}
			<-d.ended
			d.must(d.err)
		})
	})
	t.Run("until the key is removed", func(t *testing.T) {
		keys := newKeyFile(t, "anna", "bert")
		r := setup(t, options{keys: keys.Store})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- keys.Run(ctx) }()
		defer func() {
			cancel()
			r.must(<-done)
		}()
		id := r.createAs(keys, "anna", 1)
		tag := r.tag(id, "Authorization", keys.keys["anna"])
		lines := strings.Split(readFile(t, keys.path), "\n")
		r.must(os.WriteFile(keys.path, []byte(lines[1]), 0o600))
		wantError(t, r.wait(id, tag, "wait=30", "Authorization", keys.keys["anna"]), 401, "API key unknown")
	})
}

// TestWaitsAreLimited verifies that a waiting request counts as a WebSocket, for its key and
// for the gateway, and that another's job does not let a client wait.
func TestWaitsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newKeyFile(t, "anna sockets=1", "bert")
		r := setup(t, options{listener: newPipes(), keys: keys.Store, progress: progress.Config{MaxWatchers: 2}})
		anna, bert := []string{"Authorization", keys.keys["anna"]}, []string{"Authorization", keys.keys["bert"]}
		a, b := r.createAs(keys, "anna", 1), r.createAs(keys, "bert", 1)
		ours, theirs := r.tag(a, anna...), r.tag(b, bert...)
		started := time.Now()
		wantError(t, r.wait(a, ours, "wait=9", bert...), 404, "Job not found: "+a)
		done := make(chan response)
		go func() { done <- r.wait(a, ours, "wait=9", anna...) }()
		synctest.Wait()
		got := r.wait(a, ours, "wait=9", anna...)
		if want := `{"error":"Too many WebSocket connections, event streams and waiting requests with this API key, try again later","status":429}` + "\n"; string(got.body) != want || got.header.Get("Retry-After") != "5" {
			t.Errorf("past the quota of the key: got %s %v", got.body, got.header)
		}
		go func() { done <- r.wait(b, theirs, "wait=9", bert...) }()
		synctest.Wait()
		wantError(t, r.wait(b, theirs, "wait=9", bert...), 503, "Too many WebSocket connections, event streams and waiting requests, try again later")
		if took := time.Since(started); took != 0 {
			t.Errorf("the rejected requests took %v", took)
		}
		for range 2 {
			wantWaited(t, <-done, 304, "wait=9", started, 9*time.Second)
		}
		started = time.Now()
		wantWaited(t, r.wait(a, ours, "wait=2", anna...), 304, "wait=2", started, 2*time.Second)
	})
}

// TestWaitIsNoLatency verifies that the time for which a client wanted to wait is not in the
// metric of the duration.
func TestWaitIsNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		id := r.create(1)
		r.wait(id, r.tag(id), "wait=20")
		want := `http_request_duration_seconds_bucket{method="GET",route="/api/v1/batch/:job_id",le="10"} 2`
		if text := r.scrape(); !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	})
}

func TestLimits(t *testing.T) {
	keys := newKeyFile(t, "anna")
	for want, o := range map[string]options{
		`{"max_images":100,"max_image_bytes":10485760,"formats":["jpeg","png"],"keys":false}`: {},
		`{"max_images":7,"max_image_bytes":4096,"formats":["jpeg","png"],"keys":true}`:        {keys: keys.Store, config: api.Config{MaxBatchImages: 7, MaxImageBytes: 4096}},
	} {
		got := setup(t, o).get("/api/v1/limits")
		if got.status != 200 || string(got.body) != want+"\n" {
			t.Errorf("got %d %s, want %s", got.status, got.body, want)
		}
	}
}
