package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// outcomes creates a job with a completed, a failed and a completed image without a record.
func (r *rig) outcomes() (id string) {
	r.Helper()
	id = r.create(3)
	r.end(id, 0, nil)
	r.end(id, 1, errDamaged)
	r.end(id, 2, nil)
	path := pipeline.ProcessedKey(pipeline.NewTraceID(id, 2), "x/image3.png")
	r.must(r.processed.Delete(r.Context(), pipeline.RecordKey(path)))
	path = pipeline.ProcessedKey(pipeline.NewTraceID(id, 0), "x/image1.png")
	r.must(r.processed.Put(r.Context(), pipeline.RecordKey(path), objectstore.Content{Data: []byte("{\n  \"format\": \"png\",\n  \"title\": \"<a>\"\n}\n"), Type: "application/json"}))
	return id
}

func TestLines(t *testing.T) {
	r := setup(t, options{now: tomorrow})
	id := r.outcomes()
	path := "/api/v1/batch/" + id + "/results.jsonl"
	got := r.get(path)
	const want = `{"index":0,"original_filename":"image1.png","status":"completed","metadata":{"format":"png","title":"<a>"}}
{"index":1,"original_filename":"image2.png","status":"failed","error":"Damaged image","error_code":"damaged_image"}
{"index":2,"original_filename":"image3.png","status":"completed","error":"No result: that of images[2] is no longer kept"}
`
	if got.status != 200 || string(got.body) != want {
		t.Errorf("got %d\n%s\nwant\n%s", got.status, got.body, want)
	}
	header := map[string]string{
		"Content-Type": "application/jsonl", "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache",
		"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
		"Content-Disposition":     `attachment; filename="` + id + `.jsonl"; filename*=UTF-8''` + id + `.jsonl`,
	}
	head := r.do("HEAD", path, nil)
	for name, value := range header {
		if got.header.Get(name) != value || head.header.Get(name) != value {
			t.Errorf("got %s %q, and %q for HEAD, want %q", name, got.header.Get(name), head.header.Get(name), value)
		}
	}
	if head.status != 200 || len(head.body) > 0 {
		t.Errorf("HEAD: got %d %q", head.status, head.body)
	}
	wantError(t, r.get(path+"?partial=yes"), 400, "partial must be true or false")
	wantError(t, r.get(path+"?partial=%"), 400, "Invalid query: want name=value, joined by &")
	if whole := r.get(path + "?partial=true&other=x"); string(whole.body) != want {
		t.Errorf("with partial=true: got %d %s", whole.status, whole.body)
	}
}

func TestLinesOfAnOpenJob(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	r.end(id, 1, nil)
	path := "/api/v1/batch/" + id + "/results.jsonl"
	for _, query := range []string{"", "?partial=false", "?partial="} {
		wantError(t, r.get(path+query), 409, "Job has not ended: processing")
	}
	if head := r.do("HEAD", path, nil); head.status != 409 {
		t.Errorf("HEAD: got %d", head.status)
	}
	const want = `{"index":0,"original_filename":"image1.png","status":"processing"}
{"index":1,"original_filename":"image2.png","status":"completed","metadata":{"format":"png"}}
`
	if got := r.get(path + "?partial=true"); got.status != 200 || string(got.body) != want {
		t.Errorf("got %d\n%s\nwant\n%s", got.status, got.body, want)
	}
	r.cancel(id)
	got := r.get(path)
	var first struct {
		Status string
		Code   string `json:"error_code"`
	}
	r.must(json.Unmarshal(got.body[:strings.IndexByte(string(got.body), '\n')], &first))
	if got.status != 200 || first.Status != "failed" || first.Code != "cancelled" {
		t.Errorf("the cancelled job: got %d %s", got.status, got.body)
	}
}

// TestInterruptedLines verifies that a store that is unavailable before the first line is
// a 503, and that one that fails later leaves a response that does not look complete.
func TestInterruptedLines(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	for i := range 3 {
		r.end(id, i, nil)
		processed := pipeline.ProcessedKey(pipeline.NewTraceID(id, i), fmt.Sprintf("x/image%d.png", i+1))
		long := `{"title":"` + strings.Repeat("x", 10_000) + `"}` // more than the connection's buffer
		r.must(r.processed.Put(t.Context(), pipeline.RecordKey(processed), objectstore.Content{Data: []byte(long), Type: "application/json"}))
	}
	path := "/api/v1/batch/" + id + "/results.jsonl"
	fix := breakWith(&r.processed.fault, objectstore.ErrUnavailable)
	wantError(t, r.get(path), 503, "Service temporarily unavailable, try again later")
	fix()
	r.failFrom(2)
	if data := wantInterrupted(t, r, path); bytes.Count(data, []byte("\n")) != 1 {
		t.Errorf("got %d bytes before the end, want the first line", len(data))
	}
}

// failFrom makes the store of processed images fail from the n-th Get on.
func (r *rig) failFrom(n int) {
	var count atomic.Int64
	get := storeGet(func(ctx context.Context, key string) (*objectstore.Object, error) {
		if count.Add(1) >= int64(n) {
			return nil, objectstore.ErrUnavailable
		}
		return r.processed.Store.Get(ctx, key)
	})
	r.processed.get.Store(&get)
}

// wantInterrupted verifies that a response is visibly incomplete, and returns what arrived.
func wantInterrupted(t *testing.T, r *rig, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	r.must(err)
	resp, err := r.client.Do(req)
	r.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the response with %d ended after %d bytes with %v, want an unexpected EOF", resp.StatusCode, len(data), err)
	}
	return data
}
