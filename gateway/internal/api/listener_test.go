package api_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// exchange sends a request on a new connection and reads until the connection is closed.
// The status is 0 if it was closed without a response.
func (r *rig) exchange(request string) (got response) {
	r.Helper()
	conn := r.dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, request) // it may be closed already
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if fault, ok := errors.AsType[net.Error](err); ok && fault.Timeout() {
		r.Error("got no response")
	}
	if err != nil {
		return got
	}
	defer resp.Body.Close()
	if got.body, err = io.ReadAll(resp.Body); err != nil {
		r.Error(err)
	}
	got.status, got.header = resp.StatusCode, resp.Header
	if resp.StatusCode == http.StatusServiceUnavailable && !resp.Close {
		r.Error("the connection of a 503 stays open")
	}
	return got
}

// until repeats the request until it gets the status.
func (r *rig) until(request string, status int) response {
	r.Helper()
	for range 2_000 {
		if got := r.exchange(request); got.status == status {
			return got
		}
		<-time.After(time.Millisecond)
	}
	r.Fatalf("%.60q never returns %d", request, status)
	return response{}
}

const look = "GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n"

func TestConnectionsPastTheLimit(t *testing.T) {
	const most, spare = 3, 2
	r := setup(t, options{
		config: api.Spare(api.Config{MaxConnections: most}, spare),
		ops:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }),
	})
	r.must(r.jobs.Create(t.Context(), job.New(unknown, []job.Image{{Original: job.Original{Path: "x/y"}}}, time.Now())))
	watching := r.dialSocket(unknown)
	for range most - 1 { // No other connection is open, so these are accepted.
		conn := r.dial()
		defer conn.Close()
	}

	const crowded = "Too many connections, try again later"
	wantError(t, r.until(look, 503), 503, crowded)
	large := strings.Repeat(" ", 1<<20)
	wantError(t, r.until(fmt.Sprintf("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(large), large), 503), 503, crowded)
	r.until("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200)

	more := make([]net.Conn, spare)
	for i := range more {
		more[i] = r.dial()
		defer more[i].Close()
	}
	r.until(look, 0)
	r.must(more[0].Close())
	r.until(look, 503)
	r.must(watching.CloseNow()) // Ending the socket frees its place.
	r.until(look, 200)
}

// TestStuckClients verifies that other clients are served while 500 clients send or read
// next to nothing.
func TestStuckClients(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	var j struct {
		Images []struct {
			Path string `json:"processed_path"`
		}
	}
	r.json("/api/v1/batch/"+id, &j)
	r.must(r.processed.Put(t.Context(), j.Images[0].Path, objectstore.Content{Data: bytes.Repeat([]byte("more than buffers hold"), 1<<20), Type: "image/png"}))
	kinds := []string{
		"GET /api/v1/batch HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + `{"images":[{"base64":"AAAA`,
		"GET /api/v1/batch/" + id + "/images/0/file HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	for i := range 500 {
		conn := r.dial()
		defer conn.Close()
		_, err := io.WriteString(conn, kinds[i%len(kinds)])
		r.must(err)
	}
	var others sync.WaitGroup
	const each = 8
	counts := make([]int, 10)
	image := `{"images":[{"base64":"` + b64(tinyPNG(t)) + `"}]}`
	for i := range counts {
		others.Go(func() {
			for range each {
				if r.exchange(look).status == 200 {
					counts[i]++
				}
				if r.exchange(fmt.Sprintf("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(image), image)).status == 201 {
					counts[i]++
				}
			}
		})
	}
	others.Wait()
	for i, n := range counts {
		if n != 2*each {
			t.Errorf("client %d: %d of %d requests got a response", i, n, 2*each)
		}
	}
}
