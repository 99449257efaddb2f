package intake

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// limiter is a server that rejects what exceeds its limits.
type limiter struct {
	limits
	status     int
	retryAfter string

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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

// TestHostsThatLimit verifies that every image of a host that limits its clients completes,
// whichever limit the host has and however it rejects requests.
func TestHostsThatLimit(t *testing.T) {
	r := setup(t)
	r.config.Fetchers, r.config.HostConcurrency = 400, 16
	in, _ := r.run("gateway-1")
	var running sync.WaitGroup
	for name, limit := range map[string]limits{
		"4 at a time":              {concurrent: 4, takes: 20 * time.Millisecond},
		"10 at a time":             {concurrent: 10, takes: 20 * time.Millisecond},
		"10 a second":              {perSecond: 10, takes: 5 * time.Millisecond},
		"10 a second, evenly":      {spacing: 100 * time.Millisecond},
		"4 at a time, 10 a second": {concurrent: 4, perSecond: 10, takes: 50 * time.Millisecond},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			for _, after := range []string{"", "1"} {
				l := &limiter{limits: limit, status: status, retryAfter: after}
				origin := httptest.NewServer(l)
				defer origin.Close()
				id := r.batch(in, urls(origin.URL, 100)...).ID
				start := time.Now()
				running.Go(func() {
					for {
						got, err := r.jobs.Get(t.Context(), id)
						if err != nil {
							t.Error(err)
							return
						}
						if !slices.ContainsFunc(got.Images, func(i job.Image) bool { return i.ToFetch() }) {
							if got.Failed != 0 {
								t.Errorf("%s, %d, Retry-After %q: %d of 100 images failed, want 0: %s", name, status, after, got.Failed, firstError(got))
							}
							break
						}
						select {
						case <-time.After(100 * time.Millisecond):
						case <-t.Context().Done():
							return
						}
					}
					l.mu.Lock()
					defer l.mu.Unlock()
					t.Logf("%s, %d, Retry-After %q: took %v, rejected %d requests", name, status, after, time.Since(start).Round(100*time.Millisecond), l.rejected)
				})
			}
		}
	}
	running.Wait()
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
		if !in.schedule.empty() && in.schedule.limitedImages() != 0 {
			t.Error("a cancelled job still waits")
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
