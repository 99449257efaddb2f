package intake

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// guarded is an origin that returns an image only for the right Authorization. It closes open
// requests while down is set.
func guarded(t *testing.T) (url string, down *atomic.Bool, asked *atomic.Int64) {
	t.Helper()
	down, asked = new(atomic.Bool), new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case down.Load():
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "/forbidden"), r.Header.Get("Authorization") != "Bearer s3cr3t":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Write(jpegBytes(1))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, down, asked
}

var secret = map[string]string{"authorization": "Bearer s3cr3t"}

// TestHeadersSurviveTheirGateway verifies that another gateway sends the headers as well, also if
// the job has too many URLs for the memory of the schedule.
func TestHeadersSurviveTheirGateway(t *testing.T) {
	base, down, asked := guarded(t)
	down.Store(true)
	r := setup(t)
	r.config.AllowHeaders = true
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{URL: base + "/a.jpg", Headers: secret}, Source{URL: base + "/b.jpg"}, Source{URL: base + "/c.jpg", Headers: secret})
	brokertest.Await(t, "as many requests as a host gets that has not answered", func() bool { return asked.Load() == firstShare })
	stop()
	down.Store(false)

	r.now = func() time.Time { return time.Now().Add(job.LeaseTime + time.Second) }
	second := r.intake("gateway-2", r.broker)
	second.schedule.urlBytes = maxURLBytes // The URLs and headers are read again.
	r.start(second)
	got := r.awaitFetched(j.ID)
	if !got.Images[0].Original.Stored() || !got.Images[2].Original.Stored() {
		t.Errorf("the images with headers are %+v and %+v, want both stored", got.Images[0], got.Images[2])
	}
	if img := got.Images[1]; img.Error != "Failed to download image: status code 401" {
		t.Errorf("the image without headers is %+v, want status code 401", img)
	}
	r.complete(second, got, 0)
	if h := r.get(j.ID).Images[0].Headers; string(h) != "" {
		t.Errorf("a completed image still has its headers: %q", string(h))
	}
}

// TestRetrySendsTheHeadersAgain verifies that a retry has the headers of the first job, until
// retention deletes them with the originals.
func TestRetrySendsTheHeadersAgain(t *testing.T) {
	base, _, asked := guarded(t)
	r := setup(t)
	r.config.AllowHeaders = true
	in, _ := r.run("gateway-1")
	j := r.batch(in, Source{URL: base + "/a.jpg", Headers: secret}, Source{URL: base + "/forbidden", Headers: secret})
	r.awaitFetched(j.ID)
	r.cancel(in, j.ID)
	if err := r.originals.Delete(t.Context(), r.get(j.ID).Images[0].Original.Path); err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	again, err := r.retry(in, j.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := r.awaitFetched(again.ID)
	if !got.Images[0].Original.Stored() || got.Images[1].Error != "Failed to download image: status code 401" || asked.Load() != 2 {
		t.Errorf("the retry is %+v after %d requests, want one image stored and one with status code 401", got.Images, asked.Load())
	}
	r.cancel(in, again.ID)
	// The stored original is copied; its headers stay in case the copy is lost.
	third, err := r.retry(in, again.ID)
	if err != nil {
		t.Fatal(err)
	}
	if h := third.Images[0].Headers.Fields(); h["authorization"] != "Bearer s3cr3t" || !third.Images[0].Original.Stored() {
		t.Errorf("the second retry has an image with %d headers", len(h))
	}
	r.awaitFetched(third.ID)
	r.cancel(in, third.ID)
	later := r.now().Add(in.config.JobRetention + time.Minute)
	if err := in.Expire(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	jobs, err := r.jobs.Hidden(t.Context(), later, later.Add(lateFor), 9)
	if err != nil || len(jobs) == 0 {
		t.Fatalf("%d hidden jobs, %v", len(jobs), err)
	}
	for _, j := range jobs {
		for _, img := range j.Images {
			if string(img.Headers) != "" {
				t.Errorf("image %d of job %s still has its headers", img.Index, j.ID)
			}
		}
	}
}

// TestHeadersAreOffByDefault verifies that an image with headers fails with a reason instead of
// being requested without them, also if the setting changed after the job was created.
func TestHeadersAreOffByDefault(t *testing.T) {
	const text = "Headers not allowed: this server sends no headers of clients to image URLs"
	base, down, asked := guarded(t)
	r := setup(t)
	in, stop := r.run("gateway-1")
	j := r.batch(in, Source{URL: base + "/a.jpg", Headers: secret}, Source{URL: base + "/b.jpg", Headers: map[string]string{"Referer": ""}}, Source{Data: jpegBytes(0), Headers: secret})
	got := r.awaitFetched(j.ID)
	if img := got.Images[0]; img.Error != text || img.ErrorCode != pipeline.CodeURLNotAllowed || img.Retryable || string(img.Headers) != "" {
		t.Errorf("the image is %+v, want failed: %s", img, text)
	}
	if asked.Load() != 1 || got.Images[1].Error != "Failed to download image: status code 401" {
		t.Errorf("%d requests, and the image with an empty field is %+v, want one request", asked.Load(), got.Images[1])
	}
	if !got.Images[2].Original.Stored() {
		t.Errorf("the inline image is %+v, want it stored", got.Images[2])
	}
	stop()

	r.config.AllowHeaders = true
	in, stop = r.run("gateway-2")
	down.Store(true)
	asked.Store(0)
	j = r.batch(in, Source{URL: base + "/a.jpg", Headers: secret})
	brokertest.Await(t, "request", func() bool { return asked.Load() == 1 })
	stop()
	down.Store(false)
	r.config.AllowHeaders = false
	r.now = func() time.Time { return time.Now().Add(job.LeaseTime + time.Second) }
	r.run("gateway-3")
	if img := r.awaitFetched(j.ID).Images[0]; img.Error != text || asked.Load() != 1 {
		t.Errorf("after %d requests the image is %+v, want failed: %s", asked.Load(), img, text)
	}
}

// TestSchedulesCountHeaders verifies that headers count against the memory for URLs.
func TestSchedulesCountHeaders(t *testing.T) {
	s := unlimited(1)
	j := job.New("0d1f6c1e-0000-4000-8000-000000000000", []job.Image{{URL: "http://example.com/", OriginalFilename: "a", Headers: job.NewHeaders(secret)}}, time.Now())
	s.add(j)
	if want := len("http://example.com/") + len("a") + len(j.Images[0].Headers); s.urlBytes != want {
		t.Errorf("the schedule counts %d bytes, want %d", s.urlBytes, want)
	}
	first, _ := s.next()
	if first == nil || s.urlBytes != 0 || string(first.headers) != string(j.Images[0].Headers) {
		t.Errorf("the task is %+v, with %d bytes left", first, s.urlBytes)
	}
	s.urlBytes = maxURLBytes
	s.add(j)
	s.done(first)
	if again, _ := s.next(); again == nil || again.url != "" || again.name != "" || string(again.headers) != "" || s.urlBytes != maxURLBytes {
		t.Errorf("without memory the task is %+v", again)
	}
}
