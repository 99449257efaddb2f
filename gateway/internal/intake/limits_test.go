package intake

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// limiter is a server that rejects what exceeds its limits.
type limiter struct {
	limits
	status     int
	retryAfter string
	address    string // "": the address is the host

	mu       sync.Mutex // guards the fields below
	running  int
	second   time.Time
	accepted int
	last     time.Time
	rejected int
}

type limits struct {
	concurrent int           // requests at a time; 0: no limit
	perSecond  int           // requests in each second, as in a fixed window; 0: no limit
	spacing    time.Duration // minimum time between two accepted requests, as in nginx without a burst
	takes      time.Duration // duration of a request
}

func (l *limiter) admit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.second) >= time.Second {
		l.second, l.accepted = now, 0
	}
	if l.concurrent > 0 && l.running >= l.concurrent || l.perSecond > 0 && l.accepted >= l.perSecond || now.Sub(l.last) < l.spacing {
		l.rejected++
		return false
	}
	l.running++
	l.accepted++
	l.last = now
	return true
}

func (l *limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.admit() {
		if l.retryAfter != "" {
			w.Header().Set("Retry-After", l.retryAfter)
		}
		w.WriteHeader(l.status)
		return
	}
	t := time.NewTimer(l.takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
	w.Write(jpegBytes(len(r.URL.Path)))
	l.leave()
}

func (l *limiter) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

// TestHostsThatLimit verifies with real servers that every image of hosts that limit their clients
// completes. Without TEST_FULL_SIZE, it tests three of the limits; TestEveryLimit simulates all.
func TestHostsThatLimit(t *testing.T) {
	r := setup(t)
	r.config.Fetchers, r.config.HostConcurrency = 400, 16
	in, _ := r.run("gateway-1")
	var running sync.WaitGroup
	n := 0
	for _, limit := range []limits{
		{concurrent: 4, takes: 20 * time.Millisecond},
		{concurrent: 10, takes: 20 * time.Millisecond},
		{perSecond: 10, takes: 5 * time.Millisecond},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			for _, after := range []string{"", "1"} {
				if n++; os.Getenv("TEST_FULL_SIZE") == "" && n%5 != 1 {
					continue
				}
				l := &limiter{limits: limit, status: status, retryAfter: after}
				origin := httptest.NewServer(l)
				defer origin.Close()
				id := r.batch(in, urls(origin.URL, 100)...).ID
				running.Go(func() { r.awaitLimited(id, l) })
			}
		}
	}
	running.Wait()
}

// awaitLimited waits until the job's images have been downloaded.
func (r *rig) awaitLimited(id string, l *limiter) {
	start := time.Now()
	for ctx := r.t.Context(); ctx.Err() == nil; {
		got, err := r.jobs.Get(ctx, id)
		if err != nil {
			r.t.Error(err)
			return
		}
		if !slices.ContainsFunc(got.Images, func(i job.Image) bool { return i.ToFetch() }) {
			if got.Failed != 0 {
				r.t.Errorf("%+v, %d, Retry-After %q: %d of 100 images failed, want 0: %s", l.limits, l.status, l.retryAfter, got.Failed, firstError(got))
			}
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.t.Logf("%+v, %d, Retry-After %q: took %v, rejected %d requests", l.limits, l.status, l.retryAfter, time.Since(start).Round(100*time.Millisecond), l.rejected)
}

func firstError(j *job.Job) string {
	for _, img := range j.Images {
		if img.Error != "" {
			return img.Error
		}
	}
	return ""
}

// TestAHostThatAlwaysLimits verifies that an image waits for its host for the configured time and
// then fails with a text that says so, also if it was never requested.
func TestAHostThatAlwaysLimits(t *testing.T) {
	for _, after := range []string{"", "3600"} {
		var asked atomic.Int64
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		defer origin.Close()
		r := setup(t)
		r.config.DownloadMaxWait = 3 * time.Second
		in, _ := r.run("gateway-1")
		start := time.Now()
		got := r.awaitFetched(r.batch(in, urls(origin.URL, 50)...).ID)
		if took := time.Since(start); took < 3*time.Second {
			t.Errorf("the job ended after %v, want at least 3s", took)
		}
		for _, img := range got.Images {
			if want := "Failed to download image: the host still limits requests after 3s (status code 429)"; img.Error != want || img.ErrorCode != pipeline.CodeDownloadFailed {
				t.Errorf("image %d: %s %q, want %q", img.Index, img.ErrorCode, img.Error, want)
			}
		}
		if n := asked.Load(); n > 12 {
			t.Errorf("the host was asked %d times within 3 s, want at most 12", n)
		}
	}
}

// TestABrokenURLDoesNotDelayItsHost verifies that a URL that only gets 503 costs the other images
// of its host little, whatever Retry-After says.
func TestABrokenURLDoesNotDelayItsHost(t *testing.T) {
	for _, after := range []string{"", "1"} {
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/0.jpg" {
				if after != "" {
					w.Header().Set("Retry-After", after)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Write(jpegBytes(len(r.URL.Path)))
		}))
		defer origin.Close()
		r := setup(t)
		in, _ := r.run("gateway-1")
		j := r.batch(in, urls(origin.URL, 50)...)
		r.awaitUploads(49)
		if got := r.get(j.ID); !got.Images[0].ToFetch() || got.Failed != 0 {
			t.Errorf("the image of the broken URL is %+v, want it to wait", got.Images[0])
		}
		if n := in.schedule.limitedImages(); n > 1 {
			t.Errorf("%v images wait, want at most 1", n)
		}
		r.cancel(in, j.ID)
		brokertest.Await(t, "empty schedule", in.schedule.empty)
		if n := in.schedule.limitedImages(); n != 0 {
			t.Errorf("%v images of the cancelled job still wait, want 0", n)
		}
	}
}

// TestARedirectToAHostThatLimits verifies that the host that limits is slowed, and not the host
// whose redirects lead to it.
func TestARedirectToAHostThatLimits(t *testing.T) {
	l := &limiter{limits: limits{concurrent: 2, takes: 20 * time.Millisecond}, status: http.StatusTooManyRequests}
	target := httptest.NewServer(l)
	defer target.Close()
	redirector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/own") {
			w.Write(jpegBytes(1))
			return
		}
		http.Redirect(w, r, target.URL+r.URL.Path, http.StatusFound)
	}))
	defer redirector.Close()
	r := setup(t)
	in, _ := r.run("gateway-1")
	j := r.batch(in, urls(redirector.URL, 60)...)
	r.awaitFetched(r.batch(in, urls(redirector.URL+"/own", 40)...).ID)
	if got := r.awaitFetched(j.ID); got.Failed != 0 {
		t.Errorf("%d images failed, want 0: %s", got.Failed, firstError(got))
	}
	if n, _ := in.schedule.pace.Count(time.Now()); n > 1 {
		t.Errorf("%d hosts are slowed, want only the target of the redirects", n)
	}
}

// TestConcurrencyIsAMaximum verifies that slow downloads keep their place: there are never more
// than CONCURRENCY at a time.
func TestConcurrencyIsAMaximum(t *testing.T) {
	var running, most atomic.Int64
	slow := func() *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer running.Add(-1)
			for n := running.Add(1); ; {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			select {
			case <-time.After(1500 * time.Millisecond): // longer than the second after which a fetch was once regarded as slow
			case <-r.Context().Done():
			}
			w.Write(jpegBytes(len(r.URL.Path)))
		}))
	}
	r := setup(t)
	r.config.Fetchers = 2
	in, _ := r.run("gateway-1")
	var ids []string
	for range 3 {
		origin := slow()
		defer origin.Close()
		ids = append(ids, r.batch(in, urls(origin.URL, 3)...).ID)
	}
	for _, id := range ids {
		if got := r.awaitFetched(id); got.Failed != 0 {
			t.Errorf("%d images failed, want 0", got.Failed)
		}
	}
	if n := most.Load(); n != 2 {
		t.Errorf("%d downloads at a time, want 2", n)
	}
}
