package client_test

import (
	"archive/zip"
	"bytes"
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

// TestResults verifies that results are read line by line, continue after a broken
// connection, and are never silently incomplete.
func TestResults(t *testing.T) {
	line := func(i int) string {
		return fmt.Sprintf(`{"index":%d,"status":"completed","metadata":{"width":%d}}`+"\n", i, i)
	}
	all := line(0) + line(1) + line(2)
	serve := func(bodies ...string) *standIn {
		n := 0
		return newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if !strings.HasSuffix(r.URL.Path, "/results.jsonl") {
				respond(w, 200, job("completed", "completed", "completed", "completed"))
				return
			}
			body := bodies[min(n, len(bodies)-1)]
			n++
			w.Header().Set("Content-Type", "application/jsonl")
			_, _ = io.WriteString(w, body)
			if len(body) < len(all) {
				cut(w)
			}
		})
	}
	for name, c := range map[string]struct {
		bodies []string
		want   []int
		err    error
	}{
		"whole":           {[]string{all}, []int{0, 1, 2}, nil},
		"cut in a line":   {[]string{all[:len(all)-10], all}, []int{0, 1, 2}, nil},
		"cut at once":     {[]string{"", all[:len(line(0))], all}, []int{0, 1, 2}, nil},
		"always cut":      {[]string{all[:len(all)-1]}, []int{0, 1}, client.ErrTruncated},
		"ended too early": {[]string{line(0) + line(1) + strings.Repeat(" ", len(line(2)))}, []int{0, 1}, client.ErrTruncated},
	} {
		var got []int
		var last error
		for r, err := range serve(c.bodies...).client(client.WithRetries(3)).Results(t.Context(), "J") {
			if last = err; err == nil {
				got = append(got, r.Index)
				if want := fmt.Sprintf(`{"width":%d}`, r.Index); string(r.Metadata) != want {
					t.Errorf("%s: metadata %s, want %s", name, r.Metadata, want)
				}
			}
		}
		if !slices.Equal(got, c.want) || !errors.Is(last, c.err) {
			t.Errorf("%s: %v, %v, want %v, %v", name, got, last, c.want, c.err)
		}
	}
	for name, body := range map[string]string{
		"another line": line(1) + all, "no JSON": "<html>" + all, "endless line": strings.Repeat("x", 6<<20),
	} {
		n := 0
		for _, err := range serve(body).client().Results(t.Context(), "J") {
			if n++; err == nil || errors.Is(err, client.ErrTruncated) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results, want one error", name, n)
		}
	}
}

// TestObject verifies that a download continues where its connection broke, and never joins
// two objects.
func TestObject(t *testing.T) {
	content := make([]byte, 300_000)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	for name, c := range map[string]struct {
		etag, then string // the ETags of the first and of the later responses
		ignore     bool   // the gateway ignores Range
		err        bool
	}{
		"resumed":         {etag: `"a"`, then: `"a"`},
		"replaced":        {etag: `"a"`, then: `"b"`, err: true},
		"without a range": {etag: `"a"`, then: `"a"`, ignore: true, err: true},
		"without a tag":   {err: true},
		"with a weak tag": {etag: `W/"a"`, then: `W/"a"`, err: true},
	} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
			start := 0
			tag := c.etag
			if n > 1 {
				tag = c.then
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); err != nil || r.Header.Get("If-Range") != c.etag {
					t.Errorf("%s: Range %q, If-Range %q", name, r.Header.Get("Range"), r.Header.Get("If-Range"))
				}
			}
			w.Header().Set("ETag", tag)
			w.Header().Set("Content-Disposition", `attachment; filename="../x.jpg"`)
			if n > 1 && tag == c.etag && !c.ignore {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(content)-1, len(content)))
				w.Header().Set("Content-Length", fmt.Sprint(len(content)-start))
				w.WriteHeader(http.StatusPartialContent)
			} else {
				start = 0
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			}
			if n < 3 {
				_, _ = w.Write(content[start : start+100_000])
				cut(w)
			}
			_, _ = w.Write(content[start:])
		})
		o, err := s.client().Object(t.Context(), "J", 0, client.ProcessedFile)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if (err != nil) != c.err || err == nil && !bytes.Equal(got, content) || !bytes.HasPrefix(content, got) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if name == "replaced" && !errors.Is(err, client.ErrChanged) {
			t.Errorf("%s: %v, want ErrChanged", name, err)
		}
		if o.Name != "x.jpg" || o.Size != int64(len(content)) {
			t.Errorf("%s: name %q, size %d", name, o.Name, o.Size)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStalled verifies that a download continues over another connection if no bytes arrive.
func TestStalled(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", `"a"`)
		if n == 1 {
			w.Header().Set("Content-Length", "6")
			_, _ = io.WriteString(w, "abc")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Range", "bytes 3-5/6")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "def")
	})
	var got bytes.Buffer
	n, err := s.client(client.WithStall(50*time.Millisecond)).Download(t.Context(), "J", 0, client.Original, &got)
	if err != nil || n != 6 || got.String() != "abcdef" {
		t.Errorf("%d bytes %q, %v", n, got.String(), err)
	}
}

// TestZip verifies the query, and that an archive that is cut off is an error, even if the
// connection ended properly.
func TestZip(t *testing.T) {
	var whole bytes.Buffer
	w := zip.NewWriter(&whole)
	f, _ := w.Create("a.jpg")
	_, _ = f.Write(make([]byte, 5000))
	_ = w.Close()
	for size, want := range map[int]bool{whole.Len(): true, whole.Len() - 1: false, 10: false, 0: false} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.URL.RequestURI() != "/api/v1/batch/J/results.zip?include=file%2Cxmp&paths=custom_id" {
				t.Errorf("request for %s", r.URL.RequestURI())
			}
			_, _ = w.Write(whole.Bytes()[:size])
		})
		var got bytes.Buffer
		n, err := s.client().Zip(t.Context(), "J", &got, client.ZipOptions{Include: []client.Kind{client.ProcessedFile, client.Sidecar}, CustomIDPaths: true})
		if (err == nil) != want || !want && !errors.Is(err, client.ErrTruncated) || n != int64(size) || got.Len() != size {
			t.Errorf("%d of %d bytes: %d, %v", size, whole.Len(), n, err)
		}
	}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		_, _ = w.Write(whole.Bytes()[:100])
		cut(w)
	})
	if _, err := s.client().Zip(t.Context(), "J", io.Discard, client.ZipOptions{}); err == nil {
		t.Error("a broken connection is no error")
	}
}

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
		RetryOf: "R", Owner: "anna", OldestFirst: true, WithoutImages: true, PageSize: 5,
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
	if n != 2 || len(requests) != 3 || requests[0].target != query+"&retry_of=R&status=failed%2Ccancelled&view=summary" ||
		requests[2].target != query+"&page_token=three&retry_of=R&status=failed%2Ccancelled&view=summary" {
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
			respond(w, 200, map[string]any{"max_images": 7, "max_image_bytes": 9, "formats": []string{"png"}, "keys": true, "captions": map[string]any{"model": "m", "host": "h"}})
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
	if err != nil || l.MaxImages != 7 || l.MaxImageBytes != 9 || !l.Keys || !slices.Equal(l.Formats, []string{"png"}) || *l.Captions != (client.Captions{Model: "m", Host: "h"}) {
		t.Errorf("limits: %+v, %v", l, err)
	}
	g, err := c.Similar(ctx, "J", 4)
	if err != nil || len(g) != 1 || g[0].Kind != "exact" || !slices.Equal(g[0].Images, []client.GroupImage{{Index: 1, Suggested: true}, {Index: 3}}) {
		t.Errorf("similar: %+v, %v", g, err)
	}
	if requests, _ := s.log(); requests[0].header.Get("User-Agent") != "test" {
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
