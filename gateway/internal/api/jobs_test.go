package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

type listed struct {
	Jobs []struct {
		JobID  string            `json:"job_id"`
		Images []json.RawMessage `json:"images"`
	} `json:"jobs"`
	Total int    `json:"total"`
	Next  string `json:"next_page_token"`
}

func (l listed) ids() (ids []string) {
	for _, j := range l.Jobs {
		ids = append(ids, j.JobID)
	}
	return ids
}

func TestList(t *testing.T) {
	r := setup(t, options{})
	if got := r.get("/api/v1/batch"); string(got.body) != "{\"jobs\":[],\"total\":0}\n" {
		t.Errorf("without jobs: got %s", got.body)
	}
	var want []string // newest first, some with the same creation time
	at := time.Date(2025, 11, 18, 10, 30, 0, 123456789, time.UTC)
	for i := range 120 {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		images := []job.Image{{URL: "http://example.com/"}, {URL: "http://example.com/"}}
		r.must(r.jobs.Create(t.Context(), job.New(id, images, at.Add(time.Duration(i/3)*time.Microsecond))))
	}
	var all listed
	r.json("/api/v1/batch", &all)
	want = all.ids()
	if len(want) != 120 || all.Total != 120 || all.Next != "" || len(all.Jobs[0].Images) != 2 {
		t.Fatalf("got %d jobs, total %d, next %q", len(want), all.Total, all.Next)
	}
	for i := 1; i < len(want); i++ {
		before, err := strconv.Atoi(want[i-1][24:])
		r.must(err)
		after, err := strconv.Atoi(want[i][24:])
		r.must(err)
		if before/3 < after/3 {
			t.Errorf("%s comes before %s", want[i-1], want[i])
		}
	}
	for _, limit := range []int{1, 7, 50, 51, 119, 120, 121, 1000} {
		var got []string
		token := ""
		for range 200 {
			var page listed
			r.json(fmt.Sprintf("/api/v1/batch?limit=%d&page_token=%s", limit, token), &page)
			if len(page.Jobs) > limit || page.Total != 120 {
				t.Errorf("limit %d: got %d jobs, total %d", limit, len(page.Jobs), page.Total)
			}
			got = append(got, page.ids()...)
			if token = page.Next; token == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: got %d jobs, or the wrong order", limit, len(got))
		}
	}
	var first, rest listed
	r.json("/api/v1/batch?limit=10", &first)
	r.json("/api/v1/batch?page_token="+first.Next, &rest)
	if len(rest.Jobs) != 110 || rest.Total != 110 {
		t.Errorf("the rest: got %d jobs, total %d", len(rest.Jobs), rest.Total)
	}
	if head := r.do("HEAD", "/api/v1/batch", nil); head.status != 200 || len(head.body) > 0 {
		t.Errorf("HEAD: got %d %s", head.status, head.body)
	}
}

// TestInterruptedList verifies that a response that cannot be completed does not look
// complete.
func TestInterruptedList(t *testing.T) {
	r := setup(t, options{})
	for i := range 60 {
		images := make([]job.Image, 100)
		for n := range images {
			images[n].URL, images[n].OriginalFilename = "http://example.com/", strings.Repeat("x", 1000)
		}
		r.must(r.jobs.Create(t.Context(), job.New(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), images, time.Now())))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/batch", nil)
	r.must(err)
	resp, err := r.client.Do(req)
	r.must(err)
	defer resp.Body.Close()
	breakWith(&r.jobs.fault, job.ErrUnavailable) // while the first page is being sent: it is larger than all buffers
	if data, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the response ended like a complete one, with %q", data[max(0, len(data)-40):])
	}
}

func TestResults(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	r.end(id, 1, nil)
	base := "/api/v1/batch/" + id + "/images/1/"
	for kind, want := range map[string]struct{ body, contentType, name string }{
		"file":      {"the image", "image/png", "image2.png"},
		"thumbnail": {"the thumbnail", "image/jpeg", "image2.png.thumb.jpg"},
		"metadata":  {`{"format":"png"}`, "application/json", "image2.png.json"},
		"xmp":       {"<x:xmpmeta/>", "application/rdf+xml", "image2.png.xmp"},
	} {
		got := r.get(base + kind)
		if got.status != 200 || string(got.body) != want.body {
			t.Errorf("%s: got %d %s", kind, got.status, got.body)
		}
		for name, value := range map[string]string{
			"Content-Type": want.contentType, "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
			"Content-Disposition":     `attachment; filename="` + want.name + `"; filename*=UTF-8''` + want.name,
			"Content-Length":          fmt.Sprint(len(want.body)),
		} {
			if got.header.Get(name) != value {
				t.Errorf("%s: got %s %q, want %q", kind, name, got.header.Get(name), value)
			}
		}
		head := r.do("HEAD", base+kind, nil)
		if head.status != 200 || len(head.body) > 0 || head.header.Get("Content-Length") != fmt.Sprint(len(want.body)) {
			t.Errorf("HEAD %s: got %d %v", kind, head.status, head.header)
		}
	}
}

// TestAbsentResults verifies that a result that cannot have been deleted yet is not reported as deleted, and is not
// left out of a file: a storage of several nodes may not find it for a while.
func TestAbsentResults(t *testing.T) {
	const day = 24 * time.Hour
	var later atomic.Int64
	r := setup(t, options{now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	id := r.create(1)
	r.end(id, 0, nil)
	for key, err := range r.processed.List(t.Context(), "") {
		r.must(err)
		r.must(r.processed.Delete(t.Context(), key.Key))
	}
	base := "/api/v1/batch/" + id
	const denied, deleted = "Object storage does not find the result of images[0], try again later", "No result: that of images[0] is no longer kept"
	for _, age := range []time.Duration{0, day - time.Minute, day} {
		later.Store(int64(age))
		status, text := 503, denied
		if age == day {
			status, text = 404, deleted
		}
		for _, kind := range []string{"file", "thumbnail", "metadata"} {
			wantError(t, r.get(base+"/images/0/"+kind), status, text)
		}
		wantError(t, r.do("POST", base+"/download", strings.NewReader(`{"what":"file","image":0}`)), status, text)
		wantError(t, r.get(base+"/images/0/xmp"), 404, "No result: images[0] has no sidecar")
		for _, all := range []string{"/results.jsonl", "/results.zip"} {
			if got := r.get(base + all); age < day {
				wantError(t, got, 503, denied)
			} else if got.status != 200 || !bytes.Contains(got.body, []byte(deleted)) {
				t.Errorf("%s: got %d %q, want %q", all, got.status, got.body, deleted)
			}
		}
	}
}

func TestAFileNameOfAnyScript(t *testing.T) {
	r := setup(t, options{})
	at := time.Now()
	const path = `x/фото "1" 100%=é:@;'.jpg`
	images := []job.Image{{Original: job.Original{Path: "x/y", ContentType: "text/html", Size: 1, SHA256: "0"}}}
	r.must(r.jobs.Create(t.Context(), job.New(unknown, images, at)))
	_, _, err := r.jobs.Change(t.Context(), job.Ref{JobID: unknown}, job.Settle(pipeline.Ended(pipeline.NewEnvelope(unknown, 0, at), path, at), at), at)
	r.must(err)
	r.must(r.processed.Put(t.Context(), path, objectstore.Content{Data: []byte("x"), Type: "text/html"}))
	got := r.get("/api/v1/batch/" + unknown + "/images/0/file")
	want := `attachment; filename="____ _1_ 100_=_:@;'.jpg"; filename*=UTF-8''%D1%84%D0%BE%D1%82%D0%BE%20%221%22%20100%25%3D%C3%A9%3A%40%3B%27.jpg`
	if d := got.header.Get("Content-Disposition"); d != want {
		t.Errorf("got  %s\nwant %s", d, want)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/octet-stream" {
		t.Errorf("a file that is neither JPEG nor PNG has the Content-Type %s", ct)
	}
}

func TestInterruptedResult(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	r.processed.short.Store(true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/batch/"+id+"/images/0/file", nil)
	r.must(err)
	resp, err := r.client.Do(req)
	if err != nil {
		return // the response was interrupted before anything was sent
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the response ended like a complete one: %q", data)
	}
}
