package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// jobResponse is a job in a response.
type jobResponse struct {
	JobID     string  `json:"job_id"`
	Status    string  `json:"status"`
	Total     int     `json:"total_images"`
	Completed int     `json:"completed"`
	Failed    int     `json:"failed"`
	Progress  float64 `json:"progress"`
	Ended     string  `json:"completed_at"`
	RetryOf   string  `json:"retry_of"`
	Message   string  `json:"message"`
	Images    []struct {
		Name    string `json:"original_filename"`
		Status  string `json:"status"`
		TraceID string `json:"trace_id"`
		Error   string `json:"error"`
		Code    string `json:"error_code"`
	} `json:"images"`
}

func (r *rig) decodeJob(got response, status int) (j jobResponse) {
	r.Helper()
	if got.status != status {
		r.Fatalf("got %d %s, want %d", got.status, got.body, status)
	}
	r.must(json.Unmarshal(got.body, &j))
	return j
}

func (r *rig) cancel(id string) response {
	r.Helper()
	return r.do(http.MethodPost, "/api/v1/batch/"+id+"/cancel", nil)
}

func (r *rig) retry(id string, header ...string) response {
	r.Helper()
	return r.do(http.MethodPost, "/api/v1/batch/"+id+"/retry", nil, header...)
}

func TestCancel(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	r.end(id, 1, nil)
	got := r.cancel(id)
	j := r.decodeJob(got, 200)
	if j.JobID != id || j.Status != "cancelled" || j.Completed != 1 || j.Failed != 2 || j.Progress != 100 || j.Ended == "" {
		t.Errorf("cancelled job: got %s", got.body)
	}
	for i, img := range j.Images {
		if i == 1 && img.Status != "completed" || i != 1 && (img.Status != "failed" || img.Error != "Cancelled" || img.Code != "cancelled") {
			t.Errorf("image %d of a cancelled job: got %+v", i, img)
		}
	}
	if now := r.get("/api/v1/batch/" + id); string(now.body) != string(got.body) {
		t.Errorf("cancel returned\n%sand GET returned\n%s", got.body, now.body)
	}
	r.end(id, 0, nil) // The result arrives too late.
	if now := r.get("/api/v1/batch/" + id); string(now.body) != string(got.body) {
		t.Errorf("a late result changed the job to %s", now.body)
	}
	if file := r.get("/api/v1/batch/" + id + "/images/1/file"); file.status != 200 {
		t.Errorf("the earlier result: got %d", file.status)
	}
	wantError(t, r.get("/api/v1/batch/"+id+"/images/0/file"), 404, "No result: images[0] is failed")
	wantError(t, r.cancel(id), 409, "Job has already ended: cancelled")

	done := r.create(1)
	r.end(done, 0, nil)
	wantError(t, r.cancel(done), 409, "Job has already ended: completed")
	wantError(t, r.cancel(unknown), 404, "Job not found: "+unknown)
	wantError(t, r.cancel("x"), 404, "Job not found: x")
	wantError(t, r.get("/api/v1/batch/"+id+"/cancel"), 405, "Method not allowed")
}

func TestCancelWhileWatched(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	first, second := r.dialSocket(id), r.dialSocket(id)
	for _, c := range []*websocket.Conn{first, second} {
		r.wantFrames(c, "progress: processing 0+0/3")
	}
	r.end(id, 2, nil)
	for _, c := range []*websocket.Conn{first, second} {
		r.wantFrames(c, "image_complete 2 completed: processing 1+0/3")
	}
	r.decodeJob(r.cancel(id), 200)
	last := []string{"image_complete 0 failed: cancelled 1+2/3", "image_complete 1 failed: cancelled 1+2/3", "job_complete: cancelled 1+2/3"}
	for _, c := range []*websocket.Conn{first, second} {
		r.wantFrames(c, last...)
		r.wantClose(c, websocket.StatusNormalClosure)
	}
	after := r.dialSocket(id)
	r.wantFrames(after, append([]string{"progress: cancelled 1+2/3", "image_complete 2 completed: cancelled 1+2/3"}, last...)...)
	r.wantClose(after, websocket.StatusNormalClosure)
}

func TestRetry(t *testing.T) {
	r := setup(t, options{})
	data := b64(tinyPNG(t))
	created := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(fmt.Sprintf(`{"images":[
		{"base64":%[1]q,"name":"good.png"},{"base64":%[1]q,"name":"unlucky.png"},{"base64":"?","name":"bad.png"},{"url":"ftp://example.com/a.jpg"},{"base64":%[1]q}
	]}`, data))), 201)
	wantError(t, r.retry(created.JobID), 409, "Job has not ended: processing")
	r.end(created.JobID, 0, nil)
	r.end(created.JobID, 1, errDamaged)
	r.end(created.JobID, 4, errDamaged)
	before := r.decodeJob(r.get("/api/v1/batch/"+created.JobID), 200)

	got := r.retry(created.JobID)
	retry := r.decodeJob(got, 201)
	if retry.JobID == created.JobID || retry.Status != "pending" || retry.RetryOf != created.JobID || retry.Message != "Batch job created with 3 images" {
		t.Errorf("retry: got %s", got.body)
	}
	if l := got.header.Get("Location"); l != "/api/v1/batch/"+retry.JobID {
		t.Errorf("got Location %q", l)
	}
	j := r.decodeJob(r.get("/api/v1/batch/"+retry.JobID), 200)
	if j.RetryOf != created.JobID || j.Total != 3 || j.Status != "processing" {
		t.Errorf("job of the retry: got %+v", j)
	}
	// The image that was not base64 is left out; the address is rejected again.
	for i, want := range []struct{ name, status string }{{"unlucky.png", "processing"}, {"a.jpg", "failed"}, {"image-5", "processing"}} {
		img := j.Images[i]
		if img.Name != want.name || img.Status != want.status || img.TraceID != string(pipeline.NewTraceID(retry.JobID, i)) {
			t.Errorf("image %d of the retry: got %+v, want %+v", i, img, want)
		}
	}
	stored, err := r.jobs.Store.Get(t.Context(), retry.JobID)
	r.must(err)
	copied, err := objectstore.ReadAll(t.Context(), r.originals, stored.Images[0].Original.Path, 1<<20)
	if err != nil || string(copied) != string(tinyPNG(t)) || !strings.HasPrefix(stored.Images[0].Original.Path, j.Images[0].TraceID+"/") {
		t.Errorf("copied original under %s: got %d bytes, %v", stored.Images[0].Original.Path, len(copied), err)
	}
	if after := r.decodeJob(r.get("/api/v1/batch/"+created.JobID), 200); fmt.Sprint(after) != fmt.Sprint(before) || after.RetryOf != "" {
		t.Errorf("the retried job changed from\n%+v to\n%+v", before, after)
	}
	for _, listed := range r.list() {
		if want := map[any]any{retry.JobID: created.JobID}[listed["job_id"]]; listed["retry_of"] != want {
			t.Errorf("list: got retry_of %v, want %v", listed["retry_of"], want)
		}
	}
	wantError(t, r.retry(unknown), 404, "Job not found: "+unknown)
	wantError(t, r.retry("x"), 404, "Job not found: x")
}

func TestNothingToRetry(t *testing.T) {
	r := setup(t, options{})
	done := r.create(1)
	r.end(done, 0, nil)
	wantError(t, r.retry(done), 400, "No failed images to retry")
	refused := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"base64":"?"}]}`)), 201)
	wantError(t, r.retry(refused.JobID), 400, "No failed images to retry")
	if n := len(r.list()); n != 2 {
		t.Errorf("got %d jobs, want 2", n)
	}
}

func TestRetryOfACancelledJob(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	r.end(id, 0, nil)
	r.decodeJob(r.cancel(id), 200)
	if retry := r.decodeJob(r.retry(id), 201); retry.Message != "Batch job created with 1 images" || retry.RetryOf != id {
		t.Errorf("retry of a cancelled job: got %+v", retry)
	}
}

// TestRetryInAnOutage verifies that a failed retry leaves nothing behind.
func TestRetryInAnOutage(t *testing.T) {
	r := setup(t, options{})
	id := r.create(2)
	r.decodeJob(r.cancel(id), 200)
	fix := breakWith(&r.originals.fault, objectstore.ErrUnavailable)
	wantError(t, r.retry(id), 503, "Service temporarily unavailable, try again later")
	fix()
	fix = breakWith(&r.jobs.fault, job.ErrUnavailable)
	wantError(t, r.retry(id), 503, "Service temporarily unavailable, try again later")
	fix()
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
	// Both originals are permanently lost and have no URL.
	for _, err := range []error{objectstore.ErrNotExist, errors.New("bytes of another client")} {
		fix = breakWith(&r.originals.fault, err)
		wantError(t, r.retry(id), 400, "No failed images to retry")
		fix()
	}
	r.decodeJob(r.retry(id), 201)
}
