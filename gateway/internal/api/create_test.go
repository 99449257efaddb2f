package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// receiving is the error for a second request while the first one is being received.
const receiving = "A request with this Idempotency-Key is still being received"

// post sends a batch with an Idempotency-Key.
func (r *rig) post(key, body string) response {
	r.Helper()
	return r.do(http.MethodPost, "/api/v1/batch", strings.NewReader(body), "Idempotency-Key", key)
}

func inlineBatch(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`{"images":[{"base64":%q,"name":"a.png"}]}`, b64(tinyPNG(t)))
}

func TestRepeatedRequest(t *testing.T) {
	for name, body := range map[string]string{
		"inline": inlineBatch(t), "url": `{"images":[{"url":"http://example.com/a.jpg"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, options{})
			first := r.post("order 4711", body)
			made := r.decodeJob(first, 201)
			again := r.post("order 4711", body)
			if again.status != 201 || string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("repeated: got %d %s %v, want %s", again.status, again.body, again.header, first.body)
			}
			r.decodeJob(r.cancel(made.JobID), 200)
			if ended := r.post("order 4711", body); ended.status != 201 || string(ended.body) != string(first.body) {
				t.Errorf("after the end of the job: got %d %s", ended.status, ended.body)
			}
			wantError(t, r.post("order 4711", body+" "), 422, "Idempotency-Key was used with a different request")
			wantError(t, r.post("order 4711", "{"), 422, "Idempotency-Key was used with a different request")
			if n := len(r.list()); n != 1 {
				t.Errorf("got %d jobs, want 1", n)
			}
			if other := r.decodeJob(r.post("order 4712", body), 201); other.JobID == made.JobID {
				t.Error("another key returned the same job")
			}
			for range 2 {
				r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(body)), 201)
			}
			if n := len(r.list()); n != 4 {
				t.Errorf("got %d jobs, want 4", n)
			}
		})
	}
}

// TestRepeatedRequestWhenFull verifies that a client finds its job even when no new job
// is accepted.
func TestRepeatedRequestWhenFull(t *testing.T) {
	r := setup(t, options{intake: intake.Config{MaxOpenImages: 1}})
	made := r.decodeJob(r.post("k", inlineBatch(t)), 201)
	if again := r.decodeJob(r.post("k", inlineBatch(t)), 201); again.JobID != made.JobID {
		t.Errorf("got another job: %+v", again)
	}
	wantError(t, r.post("other", inlineBatch(t)), 503, "Too many images in progress, try again later")
}

func TestKeyOfAFailedRequest(t *testing.T) {
	r := setup(t, options{})
	wantError(t, r.post("k", `{"images":[]}`), 400, "No images provided")
	fix := breakWith(&r.originals.fault, objectstore.ErrUnavailable)
	wantError(t, r.post("k", inlineBatch(t)), 503, "Service temporarily unavailable, try again later")
	fix()
	fix = breakWith(&r.jobs.fault, errStrange)
	wantError(t, r.post("k", inlineBatch(t)), 500, "Internal server error")
	fix()
	r.decodeJob(r.post("k", inlineBatch(t)), 201)
}

func TestKeyWhileReceiving(t *testing.T) {
	r := setup(t, options{})
	body := inlineBatch(t)
	half := len(body) / 2
	start := func() (conn io.WriteCloser, answer func() response) {
		c := r.dial()
		_, err := fmt.Fprintf(c, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:half])
		r.must(err)
		for { // until the server reads the first request
			if j, err := r.jobs.Keyed(r.Context(), job.Key{Name: "k"}); err == nil && j.Status == job.Receiving {
				break
			}
			<-time.After(time.Millisecond)
		}
		return c, func() response { return r.read(c) }
	}
	conn, answer := start()
	wantError(t, r.post("k", body), 409, receiving)
	_, err := io.WriteString(conn, body[half:])
	r.must(err)
	first := answer()
	made := r.decodeJob(first, 201)
	r.must(conn.Close())
	if again := r.decodeJob(r.post("k", body), 201); again.JobID != made.JobID {
		t.Errorf("got another job: %+v", again)
	}

	// A client that disconnects in the middle frees the key.
	body = strings.Replace(body, "a.png", "b.png", 1)
	r.decodeJob(r.cancel(made.JobID), 200)
	_, err = r.jobs.Hide(t.Context(), time.Now().Add(time.Second), 9)
	r.must(err)
	conn, _ = start()
	r.must(conn.Close())
	got := r.post("k", body)
	for ; got.status == 409; got = r.post("k", body) {
		<-time.After(time.Millisecond)
	}
	r.decodeJob(got, 201)
}

func TestConcurrentPostsWithOneKey(t *testing.T) {
	r := setup(t, options{})
	body := inlineBatch(t)
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			for {
				got := r.post("k", body)
				if got.status == 409 {
					continue
				}
				ids[i] = r.decodeJob(got, 201).JobID
				return
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("got two jobs, %s and %s", ids[0], id)
		}
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs, want 1", n)
	}
}

func TestKeyOfARetry(t *testing.T) {
	r := setup(t, options{})
	id, other := r.create(1), r.create(1)
	r.decodeJob(r.cancel(id), 200)
	r.decodeJob(r.cancel(other), 200)
	first := r.retry(id, "Idempotency-Key", "k")
	r.decodeJob(first, 201)
	if again := r.retry(id, "Idempotency-Key", "k"); string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("repeated: got %d %s, want %s", again.status, again.body, first.body)
	}
	const reused = "Idempotency-Key was used with a different request"
	wantError(t, r.retry(other, "Idempotency-Key", "k"), 422, reused)
	wantError(t, r.post("k", inlineBatch(t)), 422, reused)
	wantError(t, r.retry(unknown, "Idempotency-Key", "new"), 404, "Job not found: "+unknown)
	if n := len(r.list()); n != 3 {
		t.Errorf("got %d jobs, want 3", n)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxImageBytes: 1 << 20}})
	const text = "Idempotency-Key must be one value of 1 to 255 printable ASCII characters"
	for _, header := range []string{
		"Idempotency-Key: ", "Idempotency-Key: " + strings.Repeat("k", 256), "Idempotency-Key: schlüssel",
		"Idempotency-Key: a\tb", "Idempotency-Key: a\r\nIdempotency-Key: b",
	} {
		for _, path := range []string{"", "/" + unknown + "/retry", "/" + unknown + "/reprocess"} {
			request := fmt.Sprintf("POST /api/v1/batch%s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: 2\r\n\r\n{}", path, header)
			wantError(t, r.raw(request), 400, text)
		}
	}
	r.decodeJob(r.post(strings.Repeat("~", 255), inlineBatch(t)), 201)
}
