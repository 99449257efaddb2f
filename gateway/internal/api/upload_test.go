package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
)

// TestSlowBodies verifies that a body may take any time, but not arrive more slowly than
// the minimum speed.
func TestSlowBodies(t *testing.T) {
	const slowest, grace = 1000, 300 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{config: api.Impatient(api.Config{}, slowest, grace), listener: newPipes()})
		start := func(what, request string) net.Conn {
			conn := r.dial()
			_, err := io.WriteString(conn, request)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return conn
		}
		for what, request := range map[string]string{
			"stalled": "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"images\":[",
			// Bytes sent earlier earn at most the grace time.
			"stalled after much":                 "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{" + strings.Repeat(" ", 500_000),
			"a GET with a body that never comes": "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
		} {
			conn := start(what, request)
			started := time.Now()
			wantError(t, r.read(conn), 408, "Request body arrived too slowly")
			if took := time.Since(started); took < grace-time.Millisecond || took > grace+time.Millisecond {
				t.Errorf("%s: aborted after %v", what, took)
			}
			r.must(conn.Close())
		}

		body := `{"images":[{"base64":"` + strings.Repeat(" ", 2000) + `"}]}`
		conn := start("slow and steady", fmt.Sprintf("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body)))
		started := time.Now()
		const piece = 11
		for len(body) > 0 { // ten percent faster than the minimum speed
			n := min(piece, len(body))
			_, err := io.WriteString(conn, body[:n])
			r.must(err)
			body = body[n:]
			time.Sleep(piece * time.Second / slowest * 10 / 11)
		}
		if got := r.read(conn); got.status != http.StatusCreated {
			t.Errorf("slow and steady: got %d %s after %v", got.status, got.body, time.Since(started))
		}
		if took := time.Since(started); took < 2*grace {
			t.Errorf("the test took only %v and proves nothing", took)
		}
	})
}

// The response to a request whose body is still being sent reaches its sender.
func TestEarlyAnswers(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxBatchImages: 1, MaxImageBytes: 1 << 20}})
	const digits = ((1 << 20) + 2) / 3 * 4
	const most = 6*(digits+2*((digits+63)/64)) + 64<<10
	big := strings.Repeat(" ", 9<<20)
	t.Run("rejected in the middle", func(t *testing.T) {
		wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader("x"+big)), 413, fmt.Sprintf("Request body exceeds %d bytes", most))
		wantError(t, r.do("POST", "/api/v1/batch", io.MultiReader(strings.NewReader("x"+big))), 400, "Invalid JSON at byte 0: unexpected character 'x'")
	})
	t.Run("read after all is written", func(t *testing.T) { // as most clients do
		conn := r.dial()
		defer conn.Close()
		_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nx%s", 1+3*len(big), strings.Repeat(big, 2))
		if err == nil {
			_, err = io.WriteString(conn, big)
		}
		if err != nil {
			t.Errorf("the sender was interrupted: %v", err)
		}
		wantError(t, r.read(conn), 413, fmt.Sprintf("Request body exceeds %d bytes", most))
	})
	t.Run("too large and chunked", func(t *testing.T) {
		wantError(t, r.do("POST", "/api/v1/batch", io.MultiReader(strings.NewReader("{"+big))), 413, fmt.Sprintf("Request body exceeds %d bytes", most))
	})
	t.Run("too large and asked before", func(t *testing.T) {
		conn := r.dial()
		defer conn.Close()
		_, err := io.WriteString(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
		r.must(err)
		wantError(t, r.read(conn), 413, fmt.Sprintf("Request body exceeds %d bytes", most))
	})
	t.Run("the largest", func(t *testing.T) {
		text := `{"images":[{"base64":"` + strings.Repeat("A", digits) + `"}]}`
		got := r.do("POST", "/api/v1/batch", strings.NewReader(text+strings.Repeat(" ", most-len(text))))
		if got.status != 201 {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
}

func TestContentFaultsFailTheirImagesOnly(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxImageBytes: 1 << 20}})
	got := r.do("POST", "/api/v1/batch", strings.NewReader(fmt.Sprintf(
		`{"images":[{"base64":"!"},{"base64":%q},{"base64":"data:image/png;base64,"},{"base64":"data:text/html;base64,%s","name":"x"}]}`,
		strings.Repeat("A", 2<<20), b64(tinyPNG(t)))))
	if got.status != 201 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	var j struct {
		Status string
		Images []struct {
			Status, Error string
			Code          string `json:"error_code"`
		}
	}
	r.json(got.header.Get("Location"), &j)
	want := `{processing [{failed Invalid base64 data invalid_base64} {failed Image exceeds the maximum size of 1 MB too_large} ` +
		`{failed Not an image: the file is empty not_an_image} {processing  }]}`
	if fmt.Sprint(j) != want {
		t.Errorf("got  %v\nwant %s", j, want)
	}
}

// The memory of eight concurrent large requests stays within their buffers.
func TestMemoryOfUploads(t *testing.T) {
	requests, images := 8, 2
	if os.Getenv("TEST_FULL_SIZE") != "" {
		images = 100
	}
	r := setup(t, options{})
	r.client.Timeout = time.Hour
	var peak atomic.Uint64
	measure := func() {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		if now := stats.HeapAlloc; now > peak.Load() {
			peak.Store(now)
		}
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	block := b64(bytes.Repeat([]byte("no image"), 6<<10)) // 48 KiB
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			parts := []io.Reader{strings.NewReader(`{"images":[{"base64":"`)}
			for i := range images {
				if i > 0 {
					parts = append(parts, strings.NewReader(`"},{"base64":"`))
				}
				for range 213 { // 9.98 MiB
					parts = append(parts, strings.NewReader(block))
				}
			}
			parts = append(parts, strings.NewReader(`"}]}`))
			got := r.do("POST", "/api/v1/batch", &probe{r: io.MultiReader(parts...), do: measure})
			if got.status != 201 {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if grown := int64(peak.Load()) - int64(stats.HeapAlloc); grown > 512<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
}

// probe calls a function every 8 MiB.
type probe struct {
	r    io.Reader
	read int
	do   func()
}

func (p *probe) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.read += n; p.read > 8<<20 {
		p.read = 0
		p.do()
	}
	return n, err
}

// TestLog verifies that the log has every request, only JSON lines, and no long string
// from outside.
func TestLog(t *testing.T) {
	var log lockedBuffer
	r := setup(t, options{log: &log})
	id := r.create(1)
	r.get("/api/v1/batch/" + id + "?secret=42")
	r.get("/" + strings.Repeat("x", 3000))
	r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"url":"u","`+strings.Repeat("y", 3000)+`":1}]}x`))
	r.must(r.stop())
	seen := map[string]bool{}
	for line := range strings.Lines(log.String()) {
		var entry map[string]any
		r.must(json.Unmarshal([]byte(line), &entry))
		if entry["msg"] == "request" {
			seen[fmt.Sprintf("%v %v %v %v", entry["method"], entry["route"], entry["status"], entry["job_id"])] = true
		}
		if strings.Contains(line, "secret") || strings.Contains(line, "=42") || len(line) > 1500 {
			t.Errorf("unexpected line in the log: %.300s", line)
		}
	}
	for _, want := range []string{
		"POST /api/v1/batch 201 " + id, "GET /api/v1/batch/:job_id 200 " + id, "GET other 404 ", "POST /api/v1/batch 400 ",
	} {
		if !seen[want] {
			t.Errorf("%q is missing in %v", want, seen)
		}
	}
}

// TestShutdownFinishesRequests verifies that requests being received finish.
func TestShutdownFinishesRequests(t *testing.T) {
	r := setup(t, options{})
	conn := r.dial()
	defer conn.Close()
	body := `{"images":[{"base64":"` + b64(tinyPNG(t)) + `"}]}`
	_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	r.must(err)
	hundred := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")) // the handler reads
	if _, err := io.ReadFull(conn, hundred); err != nil || !strings.HasPrefix(string(hundred), "HTTP/1.1 100") {
		t.Fatalf("got %q, %v", hundred, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	r.untilClosed()
	_, err = io.WriteString(conn, body)
	r.must(err)
	if got := r.read(conn); got.status != 201 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	r.must(<-stopped)
}

// TestMemoryOfSockets verifies that each socket costs little memory, on the server and the
// client together.
func TestMemoryOfSockets(t *testing.T) {
	sockets := 50
	if os.Getenv("TEST_FULL_SIZE") != "" {
		sockets = 2000
	}
	r := setup(t, options{})
	id := r.create(1)
	memory := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapInuse + stats.StackInuse
	}
	before := memory()
	for range sockets {
		conn := r.dial()
		defer conn.Close()
		_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/ws HTTP/1.1\r\nHost: x\r\n%s\r\n", id, headerLines(upgrade))
		r.must(err)
		frame := make([]byte, 300)
		if n, err := conn.Read(frame); err != nil || n == 0 {
			t.Fatal(err)
		}
	}
	each := int64(memory()-before) / int64(sockets)
	t.Logf("%d bytes for each of %d sockets", each, sockets)
	if each > 40_000 && sockets > 1000 {
		t.Errorf("got %d bytes for each socket", each)
	}
}
