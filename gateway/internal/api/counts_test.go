package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestCounts verifies that a caller learns how many jobs of its own, or of all names, are in each
// list, and at which numbers counting stopped. A number that is the limit itself is exact.
func TestCounts(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "carl", "ops operator")
	r := setup(t, options{keys: keys.Store, config: api.Counted(api.Config{}, 2)})
	for n, owner := range []string{"anna", "anna", "anna", "bert"} {
		r.store(n, time.Now(), func(j *job.Job) { j.Owner = owner })
		if owner == "anna" {
			r.end(numbered(n), 0, errDamaged)
		}
	}
	open := r.createAs(keys, "anna", 2)
	r.createAs(keys, "anna", 2)
	r.end(open, 0, errDamaged)
	done := r.createAs(keys, "bert", 1)
	r.end(done, 0, nil)
	cancelled := r.createAs(keys, "bert", 1)
	r.as(keys, "bert", "POST", "/api/v1/batch/"+cancelled+"/cancel", "")
	lacking := r.createAs(keys, "bert", 1)
	result := pipeline.Ended(pipeline.NewEnvelope(lacking, 0, time.Now()), "x/y.png", time.Now())
	result.Uncaptioned = true
	_, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: lacking}, job.Settle(result, time.Now()), time.Now())
	r.must(err)

	for name, want := range map[string]string{
		"anna": `{"pending":0,"processing":2,"completed":0,"failed":2,"cancelled":0,"failed_images":2,"uncaptioned":0,"at_least":["failed","failed_images"]}`,
		"bert": `{"pending":1,"processing":0,"completed":2,"failed":0,"cancelled":1,"failed_images":1,"uncaptioned":1,"at_least":[]}`,
		"carl": `{"pending":0,"processing":0,"completed":0,"failed":0,"cancelled":0,"failed_images":0,"uncaptioned":0,"at_least":[]}`,
		"ops":  `{"pending":1,"processing":2,"completed":2,"failed":2,"cancelled":1,"failed_images":2,"uncaptioned":1,"at_least":["failed","failed_images"]}`,
	} {
		if got := r.as(keys, name, "GET", "/api/v1/counts", ""); got.status != 200 || string(got.body) != want+"\n" {
			t.Errorf("%s: got %d %s, want %s", name, got.status, got.body, want)
		}
	}
	breakWith(&r.jobs.fault, job.ErrUnavailable)
	if got := r.as(keys, "anna", "GET", "/api/v1/counts", ""); got.status != 503 || !strings.Contains(string(got.body), "try again later") {
		t.Errorf("without a job store: got %d %s", got.status, got.body)
	}
}

// TestCountsWithoutKeys verifies that a caller without keys counts all jobs, up to 1,000 of each kind.
func TestCountsWithoutKeys(t *testing.T) {
	r := setup(t, options{})
	for range 3 {
		r.create(1)
	}
	if got := string(r.get("/api/v1/counts").body); !strings.HasPrefix(got, `{"pending":0,"processing":3,`) || !strings.Contains(got, `"at_least":[]`) {
		t.Errorf("got %s, want 3 jobs in progress", got)
	}
}
