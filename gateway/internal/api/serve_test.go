package api_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// An image may contain what looks like a response of net/http itself, at any position. It
// must be sent unchanged: otherwise its owner could end a response early and have the
// rest treated as the next response.
func TestAResultThatLooksLikeAnAnswer(t *testing.T) {
	r := setup(t, options{})
	at := time.Now()
	const path = "x/image1.jpg"
	images := []job.Image{{Original: job.Original{Path: "x/y", ContentType: "image/jpeg", Size: 1, SHA256: "0"}}}
	r.must(r.jobs.Create(t.Context(), job.New(unknown, images, at)))
	_, _, err := r.jobs.Change(t.Context(), job.Ref{JobID: unknown}, job.Settle(pipeline.Ended(pipeline.NewEnvelope(unknown, 0, at), path, at), at), at)
	r.must(err)
	for _, answer := range []string{
		"HTTP/1.1 417 ",
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n",
	} {
		for shift := range len(answer) { // one of them starts where a write starts
			want := answer[shift:] + strings.Repeat(answer, 100_000/len(answer))
			r.must(r.processed.Put(t.Context(), path, objectstore.Content{Data: []byte(want), Type: "image/jpeg"}))
			if got := r.get("/api/v1/batch/" + unknown + "/images/0/file"); string(got.body) != want {
				t.Fatalf("%q shifted by %d: got another file", answer, shift)
			}
		}
	}
	// After that, the connection's own errors still have the documented form.
	conn := r.dial()
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /style.css HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
	r.must(err)
	both, err := io.ReadAll(conn)
	r.must(err)
	if !strings.HasSuffix(string(both), "\r\n\r\n"+`{"error":"Bad Request","status":400}`+"\n") {
		t.Errorf("a malformed request after a valid one: got %q", both[max(0, len(both)-200):])
	}
}

// TestBodyThatNeverArrives verifies that net/http's own responses do not wait forever for
// a body that no handler reads.
func TestBodyThatNeverArrives(t *testing.T) {
	r := setup(t, options{config: api.Impatient(api.Config{}, 1000, 300*time.Millisecond)})
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"expectation": {"POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: miracle\r\n\r\n", http.StatusExpectationFailed},
		"of no path":  {"OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", http.StatusRequestTimeout},
	} {
		conn := r.dial()
		_, err := io.WriteString(conn, c.request)
		r.must(err)
		if got := r.read(conn); got.status != c.status {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
		_, err = io.Copy(io.Discard, conn)
		if fault, ok := errors.AsType[net.Error](err); ok && fault.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		r.must(conn.Close())
	}
}
