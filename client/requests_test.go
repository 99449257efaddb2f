package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// TestList verifies the query and the pages.
func TestList(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		switch page := map[string]any{"jobs": []any{job("failed", "failed")}}; n {
		case 1:
			page["next_page_token"] = "two"
			respond(w, 200, page)
		case 2:
			respond(w, 200, map[string]any{"jobs": []any{}, "next_page_token": "three"})
		default:
			respond(w, 200, page)
		}
	})
	at := time.Date(2026, 11, 28, 18, 0, 0, 0, time.FixedZone("", 3600))
	options := client.ListOptions{
		Status: []client.Status{client.Failed, client.Cancelled}, FailedImages: true, CreatedAfter: at, CreatedBefore: at.Add(time.Hour),
		RetryOf: "R", Owner: "anna", OldestFirst: true, WithoutImages: true, PageSize: 5, Uncaptioned: true, Upload: "U", Search: "é 1",
	}
	n := 0
	for j, err := range s.client().List(t.Context(), options) {
		if err != nil || j.Status != client.Failed {
			t.Errorf("job %+v, %v", j, err)
		}
		n++
	}
	requests, _ := s.log()
	const query = "/api/v1/batch?created_after=2026-11-28T18%3A00%3A00%2B01%3A00&created_before=2026-11-28T19%3A00%3A00%2B01%3A00&failed_images=true&limit=5&order=oldest&owner=anna"
	const rest = "&q=%C3%A9+1&retry_of=R&status=failed%2Ccancelled&uncaptioned=true&upload=U&view=summary"
	if n != 2 || len(requests) != 3 || requests[0].target != query+rest ||
		requests[2].target != query+"&page_token=three"+rest {
		t.Errorf("%d jobs, requests %+v", n, requests)
	}
	s = newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		respond(w, 200, map[string]any{"jobs": []any{}, "next_page_token": "again"})
	})
	for _, err := range s.client().List(t.Context(), client.ListOptions{}) {
		if err == nil {
			t.Error("a list that repeats a page has no error")
		}
	}
	if requests, _ := s.log(); len(requests) != 2 {
		t.Errorf("%d requests for a page that repeats", len(requests))
	}
}

// TestRedirects verifies that the API key is never sent to another origin, that a redirect of a
// POST is not followed, and that one of a GET within the gateway is.
func TestRedirects(t *testing.T) {
	var foreign atomic.Int32
	other := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		foreign.Add(1)
		respond(w, 200, job("completed", "completed"))
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		target := other.URL
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.URL.Path == "/moved" {
				if r.Header.Get("Authorization") != "Bearer secret" {
					t.Errorf("%d: the redirected request has no key", status)
				}
				respond(w, 200, job("completed", "completed"))
				return
			}
			w.Header().Set("Location", target)
			w.WriteHeader(status)
		})
		c := s.client(client.WithAPIKey("secret"))
		_, getErr := c.Job(t.Context(), "J")
		_, postErr := c.Create(t.Context(), []client.Image{client.Bytes("a.jpg", []byte("a"))})
		for _, err := range []error{getErr, postErr} {
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != status || !strings.Contains(e.Text, other.URL) {
				t.Errorf("%d: %v, want an error with the new address", status, err)
			}
		}
		target = "/moved"
		if j, err := c.Job(t.Context(), "J"); err != nil || j.Status != client.Completed {
			t.Errorf("%d within the gateway: %+v, %v", status, j, err)
		}
		if _, err := c.Cancel(t.Context(), "J"); err == nil {
			t.Errorf("%d of a POST was followed", status)
		}
	}
	if n := foreign.Load(); n != 0 {
		t.Errorf("%d requests to another origin", n)
	}
}

// TestHugeResponse verifies that a response without an end, and one that is no JSON, is an
// error.
func TestHugeResponse(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kind   string
		size   int64
	}{
		"job":   {200, "application/json", 65 << 20},
		"error": {400, "application/json", 1 << 20},
		"text":  {404, "text/plain; charset=utf-8", 1 << 20},
		"page":  {200, "text/html", 100},
	} {
		s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.CopyN(w, spaces{}, c.size)
		})
		_, err := s.client().Job(t.Context(), "J")
		if err == nil || len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", name, len(fmt.Sprint(err)))
		}
		if requests, _ := s.log(); len(requests) != 1 {
			t.Errorf("%s: %d requests", name, len(requests))
		}
	}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Content-Type", "application/json")
		if n == 1 {
			_, _ = io.WriteString(w, `{"job_id":`)
			cut(w)
		}
		w.Header().Del("Content-Length")
		respond(w, 200, job("completed", "completed"))
	})
	if j, err := s.client().Job(t.Context(), "J"); err != nil || j.ID != "J" {
		t.Errorf("after a response that was cut off: %+v, %v", j, err)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestCancel verifies that a job whose cancellation was lost counts as cancelled, and one that
// has ended by itself does not.
func TestCancel(t *testing.T) {
	for _, lost := range []bool{true, false} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
			switch {
			case r.Method == http.MethodGet:
				respond(w, 200, job("cancelled", "failed"))
			case n == 1 && lost:
				reset(w)
			default:
				refuse(w, 409, "Job has already ended: cancelled")
			}
		})
		j, err := s.client().Cancel(t.Context(), "J")
		if lost && (err != nil || j.Status != client.Cancelled) {
			t.Errorf("after a lost response: %+v, %v", j, err)
		}
		if e, ok := errors.AsType[*client.Error](err); !lost && (!ok || e.Status != 409) {
			t.Errorf("of a job that had ended: %v", err)
		}
	}
}

// TestReprocess verifies the selection that Reprocess sends, and that it is sent again with its key after a broken
// connection. A selection that is empty by mistake must not become all images.
func TestReprocess(t *testing.T) {
	for _, c := range []struct {
		images  []int
		options []client.JobOption
		want    string
	}{
		{nil, nil, `{}`},
		{[]int{3, 0}, nil, `{"images":[3,0]}`},
		{nil, []client.JobOption{client.WithCaptions(true)}, `{"captions":true}`},
		{[]int{1}, []client.JobOption{client.WithCaptions(false)}, `{"images":[1],"captions":false}`},
	} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != c.want || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("request %d is %s of type %q with the body %s, %v; want %s", n, r.Method, r.Header.Get("Content-Type"), body, err, c.want)
			}
			if n == 1 {
				reset(w)
				return
			}
			created(w, "N")
		})
		j, err := s.client().Reprocess(t.Context(), "J", c.images, c.options...)
		requests, _ := s.log()
		if err != nil || j.ID != "N" || len(requests) != 2 || requests[1].target != "/api/v1/batch/J/reprocess" {
			t.Errorf("job %+v, %v after %d requests", j, err, len(requests))
			continue
		}
		if key := requests[0].header.Get("Idempotency-Key"); len(key) < 20 || key != requests[1].header.Get("Idempotency-Key") {
			t.Errorf("keys %q and %q", key, requests[1].header.Get("Idempotency-Key"))
		}
	}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) { created(w, "N") })
	if j, err := s.client().Reprocess(t.Context(), "J", []int{}); err == nil {
		t.Errorf("an empty selection became job %+v", j)
	}
}

// TestOthers verifies the remaining requests.
func TestOthers(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch r.Method + " " + r.URL.RequestURI() {
		case "POST /base/api/v1/batch/a%2Fb/retry":
			if len(r.Header.Get("Idempotency-Key")) < 20 {
				t.Error("a retry without a key")
			}
			created(w, "N")
		case "GET /base/api/v1/limits":
			respond(w, 200, map[string]any{"max_images": 7, "max_image_bytes": 9, "formats": []string{"png"}, "keys": true, "captions": map[string]any{"model": "m", "host": "h", "pixels": 512}})
		case "GET /base/api/v1/batch/J/similar?distance=4":
			respond(w, 200, map[string]any{"groups": []any{map[string]any{"kind": "exact", "distance": 0, "images": []any{
				map[string]any{"index": 1, "suggested": true}, map[string]any{"index": 3},
			}}}})
		default:
			refuse(w, 404, "Not found")
		}
	})
	c, err := client.New(s.URL+"/base/", client.WithHTTPClient(&http.Client{}), client.WithUserAgent("test"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if j, err := c.Retry(ctx, "a/b"); err != nil || j.ID != "N" {
		t.Errorf("retry: %+v, %v", j, err)
	}
	l, err := c.Limits(ctx)
	if err != nil || l.MaxImages != 7 || l.MaxImageBytes != 9 || !l.Keys || !slices.Equal(l.Formats, []string{"png"}) || *l.Captions != (client.Captions{Model: "m", Host: "h", Pixels: 512}) {
		t.Errorf("limits: %+v, %v", l, err)
	}
	g, err := c.Similar(ctx, "J", 4)
	if err != nil || len(g) != 1 || g[0].Kind != "exact" || !slices.Equal(g[0].Images, []client.GroupImage{{Index: 1, Suggested: true}, {Index: 3}}) {
		t.Errorf("similar: %+v, %v", g, err)
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Job(ctx, id); err == nil {
			t.Errorf("the ID %q was accepted", id)
		}
	}
	if requests, _ := s.log(); len(requests) != 3 || requests[0].header.Get("User-Agent") != "test" {
		t.Errorf("User-Agent %q", requests[0].header.Get("User-Agent"))
	}
}

// TestNew verifies that a wrong address or key is an error at the start.
func TestNew(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "ftp://x", "http://", "http://x?y", "http://x#y", "http://a:b c"} {
		if _, err := client.New(address); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
	if _, err := client.New("http://u:password@x?y"); err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("error %v, want one without the password", err)
	}
	if _, err := client.New("http://u:p@x", client.WithAPIKey("k")); err == nil {
		t.Error("a user and a key were accepted")
	}
	for _, key := range []string{"a b", "a\n", "ä"} {
		if _, err := client.New("http://x", client.WithAPIKey(key)); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}
