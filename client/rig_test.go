package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// standIn is a gateway that answers as a test says.
type standIn struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex // guards the fields below
	requests []request
	slept    []time.Duration
}

// request is a request that the stand-in received.
type request struct {
	method, target string
	header         http.Header
	length         int64
}

// newStandIn starts a stand-in whose handler gets the number of the request, from 1.
func newStandIn(t testing.TB, handle func(w http.ResponseWriter, r *http.Request, n int)) *standIn {
	t.Helper()
	s := &standIn{t: t}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, request{r.Method, r.URL.RequestURI(), r.Header.Clone(), r.ContentLength})
		n := len(s.requests)
		s.mu.Unlock()
		if r.Header.Get("User-Agent") == "" {
			t.Errorf("request %d has no User-Agent", n)
		}
		handle(w, r, n)
	}))
	t.Cleanup(s.Close)
	return s
}

// client returns a client that records how long it would wait, instead of waiting.
func (s *standIn) client(options ...client.Option) *client.Client {
	s.t.Helper()
	sleep := func(ctx context.Context, d time.Duration) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slept = append(s.slept, d)
		return ctx.Err()
	}
	c, err := client.New(s.URL, append([]client.Option{client.WithSleep(sleep)}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *standIn) log() ([]request, []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests, s.slept
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, text string) {
	respond(w, status, map[string]any{"error": text, "status": status})
}

// reset breaks the connection of a request with a TCP reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// cut breaks the connection after what has been written, so that the client notices it.
func cut(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// part is a part of a form.
type part struct{ name, filename, content string }

// parts reads a form strictly.
func parts(t *testing.T, r *http.Request) (list []part) {
	t.Helper()
	form, err := r.MultipartReader()
	if err != nil {
		t.Errorf("form: %v", err)
		return nil
	}
	for {
		p, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Errorf("form: %v", err)
			return list
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Errorf("part %d: %v", len(list), err)
		}
		list = append(list, part{p.FormName(), p.FileName(), string(content)})
	}
}

func created(w http.ResponseWriter, id string) {
	respond(w, http.StatusCreated, map[string]any{
		"job_id": id, "status": "pending", "created_at": "2026-11-28T18:00:00Z", "message": "Batch job created with 1 images",
	})
}

// image is one image in the JSON of a job.
func image(index int, status string) map[string]any {
	return map[string]any{"index": index, "original_filename": fmt.Sprintf("%d.jpg", index), "status": status, "trace_id": "t"}
}

// job is the JSON of a job with images of these statuses.
func job(status string, images ...string) map[string]any {
	list, completed, failed := []any{}, 0, 0
	for i, s := range images {
		list = append(list, image(i, s))
		switch s {
		case "completed":
			completed++
		case "failed":
			failed++
		}
	}
	return map[string]any{
		"job_id": "J", "status": status, "total_images": len(images), "completed": completed, "failed": failed,
		"progress": float64(completed+failed) / float64(len(images)) * 100, "images": list,
		"created_at": "2026-11-28T18:00:00Z", "updated_at": "2026-11-28T18:00:01Z",
	}
}
