package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// endAs ends an image of the given appearance.
func (r *rig) endAs(id string, index int, a pipeline.Appearance) {
	r.Helper()
	now := time.Now()
	result := pipeline.Ended(pipeline.NewEnvelope(id, index, now), "x/y.png", now)
	result.Appearance = a
	_, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: id, Index: index}, job.Settle(result, now), now)
	r.must(err)
}

// TestSimilar requests the groups of a job of five images: two with the same bytes, two other
// ones, and one of which an older processor sent no hash.
func TestSimilar(t *testing.T) {
	r := setup(t, options{})
	tiny := b64(tinyPNG(t))
	got := r.do("POST", "/api/v1/batch", strings.NewReader(fmt.Sprintf(`{"images":[
		{"base64":%q,"custom_id":"2024/a.png"},{"base64":%q},{"base64":%q},{"base64":%q},{"base64":%q}]}`,
		tiny, b64(append(tinyPNG(t), 0)), tiny, b64(append(tinyPNG(t), 0, 0)), b64(append(tinyPNG(t), 0, 0, 0)))))
	if got.status != 201 {
		t.Fatalf("POST: %d %s", got.status, got.body)
	}
	path := got.header.Get("Location") + "/similar"
	id := strings.TrimPrefix(got.header.Get("Location"), "/api/v1/batch/")
	for i, hash := range []string{"0000000000000000", "0000000000000fff", "0000000000000000", "0000000000ffffff"} {
		size := 8
		if i == 1 {
			size = 9
		}
		r.endAs(id, i, pipeline.Appearance{PHash: hash, Width: size, Height: size})
	}
	const exact = `{"kind":"exact","distance":0,"images":[{"index":0,"custom_id":"2024/a.png","suggested":true},{"index":2,"suggested":false}]}`
	wantError(t, r.get(path), 409, "Job has not ended: processing")
	if got := r.get(path + "?partial=true"); string(got.body) != `{"compared":4,"groups":[`+exact+"]}\n" {
		t.Errorf("while the job is open: got %s", got.body)
	}
	r.endAs(id, 4, pipeline.Appearance{})
	for query, want := range map[string]string{
		"":             exact,
		"?distance=11": exact,
		"?distance=12": exact + `,{"kind":"similar","distance":12,"images":[{"index":0,"custom_id":"2024/a.png","suggested":false},{"index":1,"suggested":true},{"index":3,"suggested":false}]}`,
		"?distance=0":  exact,
	} {
		got := r.get(path + query)
		if got.status != 200 || string(got.body) != `{"compared":4,"groups":[`+want+"]}\n" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s, want the groups %s", query, got.status, got.body, want)
		}
	}
	for _, query := range []string{"-1", "17", "x", "", "1e1", "10.0", "99999999999999999999"} {
		wantError(t, r.get(path+"?distance="+query), 400, "distance must be a number from 0 to 16")
	}
	wantError(t, r.get(path+"?distance=1&distance=2"), 400, "distance must not be repeated")
	wantError(t, r.get(path+"?partial=2"), 400, "partial must be true or false")
	wantError(t, r.get(path+"?distance=%"), 400, "Invalid query: want name=value, joined by &")
	wantError(t, r.get("/api/v1/batch/"+unknown+"/similar"), 404, "Job not found: "+unknown)

	alone := r.create(1)
	r.end(alone, 0, nil)
	if got := r.get("/api/v1/batch/" + alone + "/similar"); string(got.body) != `{"compared":0,"groups":[]}`+"\n" {
		t.Errorf("without a hash: got %s", got.body)
	}
}
