package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

func startStream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "retry: 1500\n\n")
}

// imageEvent and jobEvent are frames as the gateway sends them.
func imageEvent(id, index int, status string) string {
	return fmt.Sprintf("id: %d\nevent: image_complete\ndata: {\"type\":\"image_complete\",\"job_id\":\"J\",\"status\":\"processing\",\"total_images\":3,"+
		"\"image\":{\"index\":%d,\"status\":%q}}\n\n", id, index, status)
}

func jobEvent(id int) string {
	return fmt.Sprintf("id: %d\nevent: job_complete\ndata: {\"type\":\"job_complete\",\"job_id\":\"J\",\"status\":\"completed\",\"total_images\":3}\n\n", id)
}

// watched returns the events as short texts, and the error.
func watched(t *testing.T, c *client.Client) (events []string, err error) {
	t.Helper()
	for e, err := range c.Watch(t.Context(), "J") {
		if err != nil {
			return events, err
		}
		text := string(e.Type)
		if e.Image != nil {
			text = fmt.Sprintf("%d %s", e.Image.Index, e.Image.Status)
		}
		events = append(events, text)
	}
	return events, nil
}

// TestWatchResumes verifies that events continue after a broken connection: a frame that was
// cut off counts only when it arrives whole, and none arrives twice.
func TestWatchResumes(t *testing.T) {
	var ids []string
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if r.URL.Path != "/api/v1/batch/J/events" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("request for %s, accepting %q", r.URL.Path, r.Header.Get("Accept"))
		}
		ids = append(ids, r.Header.Get("Last-Event-ID"))
		switch n {
		case 1:
			startStream(w)
			second := imageEvent(7, 1, "failed")
			_, _ = io.WriteString(w, imageEvent(5, 0, "completed")+second[:len(second)-5])
			cut(w)
		case 2:
			reset(w)
		case 3:
			w.Header().Set("Retry-After", "3")
			refuse(w, 503, "Too many WebSocket connections, try again later")
		case 4:
			startStream(w) // another gateway repeats an image; CRLF and a comment are allowed
			_, _ = io.WriteString(w, ":\r\n\r\n"+strings.ReplaceAll(imageEvent(6, 0, "completed")+imageEvent(7, 1, "failed"), "\n", "\r\n"))
		default:
			startStream(w)
			_, _ = io.WriteString(w, imageEvent(9, 2, "completed")+jobEvent(9))
			_, _ = io.WriteString(w, imageEvent(10, 2, "completed"))
		}
	})
	events, err := watched(t, s.client())
	if want := []string{"0 completed", "1 failed", "2 completed", "job_complete"}; err != nil || !slices.Equal(events, want) {
		t.Errorf("events %q, %v, want %q", events, err, want)
	}
	if want := []string{"", "5", "5", "5", "7"}; !slices.Equal(ids, want) {
		t.Errorf("Last-Event-ID %q, want %q", ids, want)
	}
	_, slept := s.log()
	if len(slept) != 4 || slept[0] < 750*time.Millisecond || slept[0] > 2250*time.Millisecond || slept[2] < 3*time.Second {
		t.Errorf("waited %v, want about the gateway's 1.5 s first, and 3 s as Retry-After says", slept)
	}
}

// TestWatchOver verifies that 204 ends the iteration.
func TestWatchOver(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n > 1 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		startStream(w)
		_, _ = io.WriteString(w, imageEvent(5, 0, "completed"))
	})
	if events, err := watched(t, s.client()); err != nil || !slices.Equal(events, []string{"0 completed"}) {
		t.Errorf("events %q, %v", events, err)
	}
}

// TestWatchBounds verifies that a stream that never makes progress, and lines and events without
// an end, end with an error.
func TestWatchBounds(t *testing.T) {
	for name, handle := range map[string]func(w http.ResponseWriter){
		"endless line": func(w http.ResponseWriter) {
			_, _ = io.CopyN(w, zeros{}, 8<<20)
		},
		"endless event": func(w http.ResponseWriter) {
			for range 100_000 {
				_, _ = io.WriteString(w, "data: "+strings.Repeat("x", 100)+"\n")
			}
		},
		"no JSON":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "data: <html>\n\n") },
		"comments": func(w http.ResponseWriter) { _, _ = io.WriteString(w, ":\n\n") },
		"the same event": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, imageEvent(5, 0, "completed")+"id: 6\n\n")
		},
		"no progress": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "event: x\n\n") },
	} {
		var bytes atomic.Int64
		s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			startStream(w)
			handle(w)
			bytes.Add(1)
		})
		if _, err := watched(t, s.client(client.WithRetries(4))); err == nil {
			t.Errorf("%s: no error", name)
		}
		if requests, _ := s.log(); len(requests) > 6 {
			t.Errorf("%s: %d requests, want at most 6", name, len(requests))
		}
	}
}

// TestWatchPolls verifies that Watch waits for changes of the job where there are no events.
func TestWatchPolls(t *testing.T) {
	for name, events := range map[string]func(w http.ResponseWriter){
		"old gateway":  func(w http.ResponseWriter) { refuse(w, 404, "Not found") },
		"other method": func(w http.ResponseWriter) { refuse(w, 405, "Method not allowed") },
		"a page":       func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html") },
		"holding back": func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream"); cut(w) },
	} {
		states := []map[string]any{
			job("pending", "pending", "pending"), job("processing", "completed", "processing"), job("completed", "completed", "failed"),
		}
		polls := 0
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				events(w)
				return
			}
			if r.Header.Get("Prefer") != "wait=30" {
				t.Errorf("Prefer %q", r.Header.Get("Prefer"))
			}
			tag := r.Header.Get("If-None-Match")
			polls++
			switch polls {
			case 1:
				if tag != "" {
					t.Errorf("the first request has the tag %q", tag)
				}
			case 2, 3: // the wait ends without a change, and the connection breaks
				if tag != `W/"0"` {
					t.Errorf("tag %q", tag)
				}
				if polls == 3 {
					reset(w)
					return
				}
				w.Header().Set("Preference-Applied", "wait=30")
				w.WriteHeader(http.StatusNotModified)
				return
			default:
				w.Header().Set("Preference-Applied", "wait=30")
			}
			state := max(0, polls-3)
			w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, state))
			respond(w, 200, states[state])
		})
		got, err := watched(t, s.client())
		if want := []string{"progress", "0 completed", "progress", "1 failed", "job_complete"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: events %q, %v, want %q", name, got, err, want)
		}
	}
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request, _ int) { refuse(w, 404, "Job not found: J") })
	_, err := watched(t, s.client())
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != 404 || e.Text != "Job not found: J" {
		t.Errorf("no job: %v", err)
	}
	polls := 0
	s = newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if polls++; strings.HasSuffix(r.URL.Path, "/events") {
			refuse(w, 404, "Not found")
			return
		}
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` && polls < 5 {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		respond(w, 200, job(map[bool]string{true: "completed", false: "pending"}[polls == 5], "pending"))
	})
	if _, err := watched(t, s.client()); err != nil {
		t.Error(err)
	}
	if _, slept := s.log(); !slices.Equal(slept, []time.Duration{2 * time.Second, 2 * time.Second}) {
		t.Errorf("a gateway that does not wait is asked after %v, want pauses of 2 s", slept)
	}
}

// TestWatchStops verifies that the caller can stop, and that Wait returns the final job.
func TestWatchStops(t *testing.T) {
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			respond(w, 200, job("completed", "completed"))
			return
		}
		startStream(w)
		_, _ = io.WriteString(w, imageEvent(1, 0, "completed")+jobEvent(2))
	})
	for _, err := range s.client().Watch(t.Context(), "J") {
		if err != nil {
			t.Error(err)
		}
		break
	}
	j, err := s.client().Wait(t.Context(), "J")
	if err != nil || j.Status != client.Completed || len(j.Images) != 1 {
		t.Errorf("job %+v, %v", j, err)
	}
}
