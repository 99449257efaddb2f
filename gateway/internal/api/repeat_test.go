package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func (r *rig) reprocess(id, body string, header ...string) response {
	r.Helper()
	return r.do(http.MethodPost, "/api/v1/batch/"+id+"/reprocess", strings.NewReader(body), header...)
}

// TestReprocess verifies which images a new job has, in which order and with what of the old job.
func TestReprocess(t *testing.T) {
	r := setup(t, options{})
	data := b64(tinyPNG(t))
	created := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(fmt.Sprintf(`{"metadata":{"a":"b"},"images":[
		{"base64":%[1]q,"name":"good.png","custom_id":"first"},{"base64":%[1]q,"name":"unlucky.png"},{"base64":"?","name":"bad.png"},{"base64":%[1]q,"name":"last.png"}
	]}`, data))), 201)
	id := created.JobID
	wantError(t, r.reprocess(id, ""), 409, "Job has not ended: processing")
	r.end(id, 0, nil)
	r.end(id, 1, errDamaged)
	r.end(id, 3, nil)
	before := r.get("/api/v1/batch/" + id)
	for body, want := range map[string]string{
		"":                                 "good.png unlucky.png last.png",
		"{}":                               "good.png unlucky.png last.png",
		`{"images":null,"captions":false}`: "good.png unlucky.png last.png",
		`{"images":[3,1]}`:                 "last.png unlucky.png",
		`{"images":[0],"captions":true}`:   "good.png",
		`{"images":[2,0],"x":[{}]}`:        "good.png",
	} {
		got := r.reprocess(id, body, "Content-Type", "application/x-www-form-urlencoded")
		j := r.decodeJob(got, 201)
		if got.header.Get("Location") != "/api/v1/batch/"+j.JobID || j.RetryOf != id || j.JobID == id {
			t.Errorf("%s: got %s at %s", body, got.body, got.header.Get("Location"))
		}
		now := r.get("/api/v1/batch/" + j.JobID)
		var names []string
		for _, img := range r.decodeJob(now, 200).Images {
			names = append(names, img.Name)
			if img.Status != "processing" {
				t.Errorf("%s: %s is %s", body, img.Name, img.Status)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got the images %s, want %s", body, got, want)
		}
		if !strings.Contains(string(now.body), `"metadata":{"a":"b"}`) || strings.Contains(want, "good") && !strings.Contains(string(now.body), `"custom_id":"first"`) {
			t.Errorf("%s: the metadata or the custom_id is missing: %s", body, now.body)
		}
	}
	if after := r.get("/api/v1/batch/" + id); string(after.body) != string(before.body) {
		t.Errorf("the job changed from\n%sto\n%s", before.body, after.body)
	}
	jobs := len(r.list())
	for body, want := range map[string]string{
		`{"images":[0,4]}`:     "images[1] must be from 0 to 3, the last image of the job",
		`{"images":[2]}`:       "No images to reprocess: none of them is stored or has a URL",
		`{"images":[0,0]}`:     "images[1] must not repeat the index 0",
		`{"images":[]}`:        "images must not be empty",
		`{"images":[0.5]}`:     "images[0] must be the index of an image, such as 0",
		`{"captions":"later"}`: "captions must be true or false",
		"--b\r\n\r\n--b--":     "Request body must be a JSON object",
	} {
		wantError(t, r.reprocess(id, body), 400, want)
	}
	wantError(t, r.reprocess(id, strings.Repeat(" ", 64<<10)+"{}"), 413, "Request body exceeds 65536 bytes")
	wantError(t, r.reprocess(id, gzipped(strings.Repeat(" ", 1<<20)), "Content-Encoding", "gzip"), 413, "Request body exceeds 65536 bytes")
	wantError(t, r.reprocess(id, "{}", "Content-Encoding", "br"), 415, "Content-Encoding not supported; want gzip, zstd or none")
	r.decodeJob(r.reprocess(id, gzipped(`{"images":[0]}`), "Content-Encoding", "gzip"), 201)
	wantError(t, r.reprocess(unknown, ""), 404, "Job not found: "+unknown)
	wantError(t, r.reprocess("x", ""), 404, "Job not found: x")
	if n := len(r.list()); n != jobs+1 {
		t.Errorf("%d jobs, want %d", n, jobs+1)
	}
}

// TestReprocessWithAKey verifies that the fingerprint of a request contains the job and the
// decoded body.
func TestReprocessWithAKey(t *testing.T) {
	r := setup(t, options{})
	id, other := r.completed(), r.completed()
	const body, reused = `{"images":[0]}`, "Idempotency-Key was used with a different request"
	first := r.reprocess(id, body, "Idempotency-Key", "k")
	r.decodeJob(first, 201)
	for name, again := range map[string]response{
		"repeated":   r.reprocess(id, body, "Idempotency-Key", "k"),
		"compressed": r.reprocess(id, gzipped(body), "Idempotency-Key", "k", "Content-Encoding", "gzip"),
		"upper case": r.reprocess(strings.ToUpper(id), body, "Idempotency-Key", "k"),
	} {
		if string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("%s: got %d %s, want %s", name, again.status, again.body, first.body)
		}
	}
	wantError(t, r.reprocess(id, `{"images": [0]}`, "Idempotency-Key", "k"), 422, reused)
	wantError(t, r.reprocess(id, "", "Idempotency-Key", "k"), 422, reused)
	wantError(t, r.reprocess(other, body, "Idempotency-Key", "k"), 422, reused)
	wantError(t, r.retry(id, "Idempotency-Key", "k"), 422, reused)
	wantError(t, r.post("k", inlineBatch(t)), 422, reused)
	if n := len(r.list()); n != 3 {
		t.Errorf("got %d jobs, want 3", n)
	}
}

// TestReprocessByAnOperator verifies that the new job belongs to the owner of the old one.
func TestReprocessByAnOperator(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store})
	id := r.createAs(keys, "anna", 1)
	r.end(id, 0, nil)
	wantError(t, r.as(keys, "bert", "POST", "/api/v1/batch/"+id+"/reprocess", ""), 404, "Job not found: "+id)
	made := r.decodeJob(r.as(keys, "ops", "POST", "/api/v1/batch/"+id+"/reprocess", ""), 201)
	if got := r.as(keys, "anna", "GET", "/api/v1/batch/"+made.JobID, ""); got.status != 200 {
		t.Errorf("the owner gets %d %s", got.status, got.body)
	}
}

// TestReprocessInAnOutage verifies that a failed request leaves nothing behind.
func TestReprocessInAnOutage(t *testing.T) {
	r := setup(t, options{})
	id := r.completed()
	for _, err := range []error{objectstore.ErrUnavailable, objectstore.ErrRefused} {
		fix := breakWith(&r.originals.fault, err)
		if got := r.reprocess(id, ""); got.status != 503 || got.header.Get("Retry-After") == "" {
			t.Errorf("%v: got %d %s", err, got.status, got.body)
		}
		fix()
	}
	fix := breakWith(&r.jobs.fault, job.ErrUnavailable)
	wantError(t, r.reprocess(id, ""), 503, "Service temporarily unavailable, try again later")
	fix()
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
	r.decodeJob(r.reprocess(id, ""), 201)
}

// TestReprocessAfterTheLimitShrank verifies that a job of more images than a batch may have now
// is reprocessed in parts.
func TestReprocessAfterTheLimitShrank(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxBatchImages: 2}})
	images := make([]job.Image, 3)
	for i := range images {
		images[i] = job.Image{Index: i, URL: "http://example.com/", Status: job.Failed}
	}
	id := r.store(1, time.Now(), func(j *job.Job) {
		*j = *job.New(j.ID, images, j.CreatedAt)
	})
	wantError(t, r.reprocess(id, ""), 400, "Too many images (>2)")
	wantError(t, r.reprocess(id, `{"images":[0,1,2]}`), 400, "Too many images (>2)")
	r.decodeJob(r.reprocess(id, `{"images":[2,0]}`), 201)
}

// TestReprocessThatBreaksOff verifies that a body that breaks off creates nothing.
func TestReprocessThatBreaksOff(t *testing.T) {
	r := setup(t, options{})
	id := r.completed()
	conn := r.dial()
	_, err := io.WriteString(conn, "POST /api/v1/batch/"+id+"/reprocess HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"images\":")
	r.must(err)
	r.must(conn.(interface{ CloseWrite() error }).CloseWrite()) //nolint:forcetypeassert // It is a TCP connection.
	wantError(t, r.read(conn), 400, "Request body is incomplete or malformed")
	r.must(conn.Close())
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
}
