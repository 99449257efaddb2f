package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
)

// whole returns an image of n bytes in base64. n is a multiple of three.
func whole(n int) string { return strings.Repeat("A", n/3*4) }

// awaitMemory waits until a name uses this much of the upload memory.
func (r *rig) awaitMemory(name string, want int64) {
	r.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.api.UploadMemory(name) != want {
		<-tick.C
	}
}

// TestSlowUploadsLeaveRoom verifies that announcing a large body takes no memory from
// others: many slow clients hold only the memory for what they have sent, and a client
// that sends an image quickly is accepted.
func TestSlowUploadsLeaveRoom(t *testing.T) {
	const slow, announced = 100, 10 << 20 // in 256 MiB
	r := setup(t, options{})
	var conns []net.Conn
	for i := range slow {
		conn := r.dial()
		defer conn.Close()
		_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", announced)
		r.must(err)
		hundred := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")) // the handler reads
		if _, err := io.ReadFull(conn, hundred); err != nil || !strings.HasPrefix(string(hundred), "HTTP/1.1 100") {
			t.Fatalf("slow upload %d: %q, %v", i, hundred, err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		_, err := io.WriteString(conn, `{"images":[{"base64":"AAAA`)
		r.must(err)
	}
	r.awaitMemory("", slow*2*api.Window) // the window, and a buffer as large
	got := r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"base64":"`+whole(announced-1)+`"}]}`))
	if got.status != http.StatusCreated {
		t.Errorf("a normal upload next to %d slow ones: got %d %s", slow, got.status, got.body)
	}
	r.awaitMemory("", slow*2*api.Window)
	for _, conn := range conns {
		conn.Close()
	}
	r.awaitMemory("", 0)
}

// TestUploadsThatMeet verifies that of concurrent uploads that do not all fit into memory
// one succeeds, and that all memory is released.
func TestUploadsThatMeet(t *testing.T) {
	const size, at = 10 << 20, 4                                                     // images that are larger than the memory of a decoder
	r := setup(t, options{config: api.Config{MaxImageBytes: size, UploadMemory: 1}}) // room for one
	text := `{"images":[{"base64":"` + whole(size-1) + `"}]}`
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards made
		made int
	)
	for range at {
		wg.Go(func() {
			got := r.do("POST", "/api/v1/batch", strings.NewReader(text))
			if got.status == http.StatusCreated {
				mu.Lock()
				made++
				mu.Unlock()
				return
			}
			wantError(t, got, 503, "Too many uploads at once, try again later")
		})
	}
	wg.Wait()
	if made == 0 {
		t.Error("the uploads have starved each other")
	}
	if got := r.do("POST", "/api/v1/batch", strings.NewReader(text)); got.status != http.StatusCreated {
		t.Errorf("afterwards: got %d %s", got.status, got.body)
	}
}

// TestUploadsAtOnce verifies that a slow upload leaves room for others.
func TestUploadsAtOnce(t *testing.T) {
	const most = 20 << 20 // more than a decoder and the copies that are being stored
	keys := newKeyFile(t, "slow", "other")
	r := setup(t, options{keys: keys.Store, config: api.Config{MaxImageBytes: most, UploadMemory: 4 * (most + api.Window)}})
	ends := make(chan response, 2)
	var pipes []*io.PipeWriter
	for range 2 {
		body, in := io.Pipe()
		pipes = append(pipes, in)
		go func() { ends <- r.do("POST", "/api/v1/batch", body, "Authorization", keys.keys["slow"]) }()
		_, err := io.WriteString(in, `{"images":[{"base64":"`+whole(most-1))
		r.must(err)
	}
	r.awaitMemory("slow", 2*(most+api.Window))
	got := r.as(keys, "slow", "POST", "/api/v1/batch", small)
	if string(got.body) != `{"error":"Too many uploads at once with this API key, try again later","status":429}`+"\n" || got.header.Get("Retry-After") != "1" {
		t.Errorf("rejected with %s %v", got.body, got.header)
	}
	r.createAs(keys, "other", 1)
	for _, in := range pipes {
		_, err := io.WriteString(in, `"}]}`)
		r.must(err)
		r.must(in.Close())
	}
	for range 2 {
		if got := <-ends; got.status != 201 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	r.createAs(keys, "slow", 1)
}
