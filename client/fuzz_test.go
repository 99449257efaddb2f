package client_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/imagebatch/imagebatch/client"
)

// FuzzEvents verifies that Watch ends with any stream, that it yields each image once, and
// nothing after the end of the job.
func FuzzEvents(f *testing.F) {
	f.Add(imageEvent(5, 0, "completed") + jobEvent(6))
	f.Add("data: {}\r\n\r\n:\n\nid\nretry: -1\ndata\n\n")
	f.Add("data: {\"image\":{\"index\":1}}\n\ndata: {\"image\":{\"index\":1}}\n\n")
	stream := ""
	s := newStandIn(f, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Path != "/api/v1/batch/J/events" {
			refuse(w, 404, "Job not found: J")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, stream)
	})
	c := s.client(client.WithRetries(2))
	f.Fuzz(func(t *testing.T, text string) {
		stream = text
		seen, over := map[int]bool{}, false
		for e, err := range c.Watch(t.Context(), "J") {
			if over {
				t.Errorf("after the end: %+v, %v", e, err)
			}
			over = err != nil || e.Type == client.JobCompleteEvent
			if e.Image != nil && seen[e.Image.Index] {
				t.Errorf("image %d twice", e.Image.Index)
			} else if e.Image != nil {
				seen[e.Image.Index] = true
			}
		}
	})
}
