package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// event is a server-sent event as a browser dispatches it.
type event struct {
	id   string // only if the server sent one with this event
	kind string
	data string
}

func (e event) String() string {
	var f frame
	if err := json.Unmarshal([]byte(e.data), &f); err != nil || f.Type != e.kind {
		return fmt.Sprintf("event %q with the data %q: %v", e.kind, e.data, err)
	}
	return f.String()
}

// eventStream is the client's side of a stream.
type eventStream struct {
	*rig
	header   http.Header
	lines    *bufio.Scanner
	comments int
	retry    string
	close    func() error
}

// stream opens an event stream. The request ends with the test.
func (r *rig) stream(id string, header ...string) *eventStream {
	r.Helper()
	return r.streamFrom(r.url, id, header...)
}

func (r *rig) streamFrom(url, id string, header ...string) *eventStream {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url+"/api/v1/batch/"+id+"/events", nil)
	r.must(err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: r.client.Transport}).Do(req) // without a time limit
	r.must(err)
	r.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.Fatalf("got %d %v", resp.StatusCode, resp.Header)
	}
	return &eventStream{rig: r, header: resp.Header, lines: bufio.NewScanner(resp.Body), close: resp.Body.Close}
}

// next returns the next event, or an error at the end of the stream: io.EOF if the server has
// ended it.
func (s *eventStream) next() (event, error) {
	var e event
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data += value
		case "retry":
			s.retry = value
		default:
			if s.lines.Text() == ":" {
				s.comments++
			} else if e.kind != "" && name == "" {
				return e, nil
			}
		}
	}
	if s.lines.Err() != nil {
		return e, s.lines.Err()
	}
	return e, io.EOF
}

// rest returns the events until the server ends the stream.
func (s *eventStream) rest() []event {
	s.Helper()
	var all []event
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		s.must(err)
		all = append(all, e)
	}
}

// want checks the next events.
func (s *eventStream) want(want ...string) {
	s.Helper()
	for _, w := range want {
		e, err := s.next()
		if err != nil || e.String() != w {
			s.Fatalf("got %v, %v; want %s", e, err, w)
		}
	}
}

// wantEnd checks that the server ends the stream properly.
func (s *eventStream) wantEnd() {
	s.Helper()
	if e, err := s.next(); !errors.Is(err, io.EOF) {
		s.Errorf("got %v, %v; want the end of the stream", e, err)
	}
}

// TestEventsAreTheFramesOfTheSocket verifies that both ways to watch a job report the same.
func TestEventsAreTheFramesOfTheSocket(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	r.end(id, 1, errDamaged)
	socket, stream := r.dialSocket(id), r.stream(strings.ToUpper(id))
	for i := range 3 {
		for range 2 - min(i, 1) { // progress and the first image, then one image each
			_, data, err := socket.Read(t.Context())
			r.must(err)
			e, err := stream.next()
			r.must(err)
			if e.data != string(data) {
				t.Errorf("got the event %s, want %s", e.data, data)
			}
		}
		if i < 2 {
			r.end(id, 2*i, nil)
		}
	}
	stream.want("job_complete: completed 2+1/3")
	stream.wantEnd()
	for name, want := range map[string]string{"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"} {
		if got := stream.header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if stream.retry != "2000" {
		t.Errorf("got retry %q", stream.retry)
	}
	r.noSockets()
	telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="job_complete"} 1`, `event_streams 0`)
}

// TestResumeEvents interrupts a stream after each event. Whatever the client has received by
// then, it receives the rest after its Last-Event-ID, from this gateway or from another one.
func TestResumeEvents(t *testing.T) {
	r := setup(t, options{})
	id := r.create(4)
	r.end(id, 0, nil)
	first := r.stream(id)
	first.want("progress: processing 1+0/4", "image_complete 0 completed: processing 1+0/4")
	resumed := r.stream(id, "Last-Event-ID", fmt.Sprint(r.revision(id)))
	r.end(id, 1, errDamaged)
	resumed.want("image_complete 1 failed: processing 1+1/4") // without a change no event comes first
	r.end(id, 2, nil)
	late := r.stream(id)
	r.end(id, 3, nil)
	other := r.another()
	all := late.rest()
	for n := range all {
		last := ""
		had := map[string]bool{}
		for _, e := range all[:n] {
			had[e.data] = true
			if e.id != "" {
				last = e.id
			}
		}
		for _, url := range []string{r.url, other} {
			var header []string
			if last != "" {
				header = []string{"Last-Event-ID", last}
			}
			again := r.streamFrom(url, id, header...).rest()
			if len(again) == 0 || again[0].kind != "progress" || again[len(again)-1] != all[len(all)-1] {
				t.Errorf("after %d events: got %v", n, again)
			}
			for _, e := range again {
				had[reported(t, e)] = true
			}
			for _, e := range all {
				if !had[e.data] && !had[reported(t, e)] {
					t.Errorf("after %d events and the ID %q: the stream lacks %v", n, last, e)
				}
			}
			if last != "" && len(again) > len(all)-1 {
				t.Errorf("after %d events and the ID %q: got all %d events again", n, last, len(again))
			}
		}
	}
	last := all[len(all)-1]
	for _, url := range []string{r.url, other} {
		for _, method := range []string{"GET", "HEAD"} {
			old := r.url
			r.url = url
			got := r.do(method, "/api/v1/batch/"+id+"/events", nil, "Last-Event-ID", last.id)
			r.url = old
			if got.status != 204 || len(got.body) > 0 || got.header.Get("Content-Type") != "" {
				t.Errorf("%s after the last event: got %d %q, want 204", method, got.status, got.body)
			}
		}
	}
}

// reported returns the image that an event reports, or its kind.
func reported(t *testing.T, e event) string {
	t.Helper()
	var f frame
	if err := json.Unmarshal([]byte(e.data), &f); err != nil {
		t.Fatal(err)
	}
	if f.Image == nil {
		return f.Type
	}
	return fmt.Sprint("image ", f.Image.Index)
}

// revision returns the revision of a job.
func (r *rig) revision(id string) int64 {
	r.Helper()
	j, err := r.jobs.Store.Get(r.Context(), id)
	r.must(err)
	return j.Revision
}

// another returns the URL of another gateway over the same store, which gets no notification.
func (r *rig) another() string {
	r.Helper()
	log := slog.New(slog.DiscardHandler)
	m := telemetry.NewRegistry()
	hub := progress.New(progress.Config{}, r.jobs, log, m)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan struct{})
	go func() { defer close(done); hub.Run(ctx) }()
	server := httptest.NewServer(api.New(api.Config{}, api.Deps{Jobs: r.jobs, Hub: hub, Log: log, Metrics: m}).Handler())
	r.Cleanup(func() { server.Close(); cancel(); <-done })
	return server.URL
}

// TestCancelHasOneID cancels a job of a hundred images, which all end at one revision. A client
// that resumes after any of these events gets all of them, or those that it lacks.
func TestCancelHasOneID(t *testing.T) {
	r := setup(t, options{})
	id := r.create(100)
	r.end(id, 42, nil)
	s := r.stream(id)
	s.want("progress: processing 1+0/100")
	before, err := s.next()
	r.must(err)
	if before.id == "" {
		t.Fatalf("the last event of a revision has no ID: %v", before)
	}
	if got := r.do("POST", "/api/v1/batch/"+id+"/cancel", nil); got.status != 200 {
		t.Fatalf("cancel: got %d %s", got.status, got.body)
	}
	all := s.rest()
	for i, e := range all {
		if (e.id != "") != (i == len(all)-1) {
			t.Errorf("event %d of %d, %v, has the ID %q", i, len(all), e, e.id)
		}
	}
	if len(all) != 100 || all[99].kind != "job_complete" {
		t.Errorf("got %d events, want 99 images and job_complete", len(all))
	}
	again := r.stream(id, "Last-Event-ID", before.id).rest()
	if len(again) != 101 || again[0].kind != "progress" || fmt.Sprint(again[1:]) != fmt.Sprint(all) {
		t.Errorf("resumed: got %v", again)
	}
}

// TestLastEventID verifies that an ID that the job does not have starts the stream from the
// beginning, because an EventSource never recovers from an error.
func TestLastEventID(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	r.end(id, 0, nil)
	end := r.revision(id)
	for _, last := range []string{"", "0", "x", "-1", "1.5", fmt.Sprint(end + 1), "9223372036854775807", "99999999999999999999", "\xff", strings.Repeat("9", 4000), fmt.Sprint(end, " ", end)} {
		s := r.stream(id, "Last-Event-ID", last)
		s.want("progress: completed 1+0/1", "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
		s.wantEnd()
	}
	s := r.stream(id, "Last-Event-ID", fmt.Sprint(end-1))
	s.want("progress: completed 1+0/1", "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
}

// TestEventsRefusals verifies the responses instead of a stream.
func TestEventsRefusals(t *testing.T) {
	r := setup(t, options{progress: progress.Config{MaxWatchers: 1}})
	for _, id := range []string{unknown, "x"} {
		for _, method := range []string{"GET", "HEAD"} {
			if got := r.do(method, "/api/v1/batch/"+id+"/events", nil); got.status != 404 || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s of job %s: got %d %v", method, id, got.status, got.header)
			}
		}
	}
	id := r.create(1)
	s := r.stream(id)
	got := r.do("GET", "/api/v1/batch/"+id+"/events", nil)
	wantError(t, got, 503, "Too many WebSocket connections, event streams and waiting requests, try again later")
	if got.header.Get("X-Accel-Buffering") != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the error has the headers of a stream: %v", got.header)
	}
	head := r.do("HEAD", "/api/v1/batch/"+id+"/events", nil) // takes no place
	if head.status != 200 || head.header.Get("Content-Type") != "text/event-stream" || len(head.body) > 0 {
		t.Errorf("HEAD: got %d %v %q", head.status, head.header, head.body)
	}
	s.want("progress: processing 0+0/1")
	r.must(s.close())
	r.noSockets() // The server notices that the client has disconnected.
	telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="client"} 1`)
	fix := breakWith(&r.jobs.fault, job.ErrUnavailable)
	wantError(t, r.do("GET", "/api/v1/batch/"+id+"/events", nil), 503, "Service temporarily unavailable, try again later")
	fix()
	r.stream(id).want("progress: processing 0+0/1")
}

// TestEventsOverHTTP10 verifies that a proxy that uses HTTP/1.0, as nginx does by default, gets
// a body without chunks, and that a second request on the connection does not end the stream.
func TestEventsOverHTTP10(t *testing.T) {
	for version, last := range map[string]string{"1.0": "}\n\n", "1.1": "}\n\n\r\n0\r\n\r\n"} {
		r := setup(t, options{})
		id := r.create(1)
		conn := r.dial()
		request := fmt.Sprintf("GET /api/v1/batch/%s/events HTTP/%s\r\nHost: x\r\n\r\n", id, version)
		_, err := io.WriteString(conn, strings.Repeat(request, 2))
		r.must(err)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		r.must(err)
		if !resp.Close || (len(resp.TransferEncoding) > 0) != (version == "1.1") {
			t.Errorf("HTTP/%s: got %v %v, close: %t", version, resp.TransferEncoding, resp.Header, resp.Close)
		}
		line, err := in.ReadString('\n')
		for err == nil && !strings.HasPrefix(line, "data:") {
			line, err = in.ReadString('\n')
		}
		r.must(err)
		r.end(id, 0, nil)
		rest, err := io.ReadAll(in)
		r.must(err)
		if text := string(rest); !strings.Contains(text, "event: job_complete") || !strings.HasSuffix(text, last) {
			t.Errorf("HTTP/%s: got %q", version, text)
		}
		_ = resp.Body.Close()
	}
}

// TestComments verifies that a stream without events gets a comment at every interval.
func TestComments(t *testing.T) {
	for _, c := range []struct{ set, want time.Duration }{{0, 25 * time.Second}, {4 * time.Second, 4 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes(), config: api.Config{WSPingInterval: c.set}})
			id := r.create(1)
			s := r.stream(id)
			s.want("progress: processing 0+0/1")
			time.AfterFunc(10*c.want+c.want/2, func() { r.end(id, 0, nil) })
			s.want("image_complete 0 completed: completed 1+0/1")
			if s.comments != 10 {
				t.Errorf("got %d comments within 10.5 × %v", s.comments, c.want)
			}
		})
	}
}

// TestStreamThatNeverReads verifies that a client that takes no event is disconnected after a
// while and counted as slow, and that a client that takes each in time is not.
func TestStreamThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()}) // its connections have no buffers
		id := r.create(3)
		s := r.stream(id)
		s.want("progress: processing 0+0/3")
		stuck := r.dial()
		_, err := fmt.Fprintf(stuck, "GET /api/v1/batch/%s/events HTTP/1.1\r\nHost: x\r\n\r\n", id)
		r.must(err)
		time.Sleep(9 * time.Second)
		telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="slow"} 0`, `event_streams 2`)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="slow"} 1`, `event_streams 1`)
		if rest, err := io.ReadAll(stuck); err != nil || len(rest) > 0 {
			t.Errorf("got %q, %v", rest, err)
		}
		for i := range 3 {
			r.end(id, i, nil)
			time.Sleep(9 * time.Second)
			if e, err := s.next(); err != nil || e.kind != "image_complete" {
				t.Errorf("a slow client got %v, %v", e, err)
			}
		}
		s.want("job_complete: completed 3+0/3")
	})
}

// TestClientSendsMore verifies that bytes after the request neither end the stream nor are
// read without a limit.
func TestClientSendsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()})
		id := r.create(1)
		conn := r.dial()
		defer conn.Close()
		_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/events HTTP/1.1\r\nHost: x\r\n\r\n", id)
		r.must(err)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		r.must(err)
		defer resp.Body.Close()
		body := bufio.NewScanner(resp.Body)
		for ok := true; ok; ok = body.Scan() && !strings.HasPrefix(body.Text(), "data:") {
			continue
		}
		r.must(conn.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := conn.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > 16<<10 {
			t.Errorf("the server read %d bytes: %v", n, err)
		}
		r.end(id, 0, nil)
		var text strings.Builder
		for body.Scan() {
			text.WriteString(body.Text())
		}
		if !strings.Contains(text.String(), "event: job_complete") {
			t.Errorf("got %q", text.String())
		}
	})
}

// TestEventsEnd verifies what ends a stream before its job ends, and that it ends properly.
func TestEventsEnd(t *testing.T) {
	t.Run("the job is deleted", func(t *testing.T) {
		r := setup(t, options{})
		id := r.create(2)
		s := r.stream(id)
		s.want("progress: processing 0+0/2")
		breakWith(&r.jobs.fault, job.ErrNotFound)
		r.hub.Resumed()
		s.wantEnd()
		r.noSockets()
		telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="job_deleted"} 1`)
	})
	t.Run("the key is removed", func(t *testing.T) {
		keys := newKeyFile(t, "anna", "bert")
		r := setup(t, options{keys: keys.Store})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- keys.Run(ctx) }()
		defer func() {
			cancel()
			r.must(<-done)
		}()
		id := r.createAs(keys, "anna", 1)
		s := r.stream(id, "Authorization", keys.keys["anna"])
		s.want("progress: processing 0+0/1")
		lines := strings.Split(readFile(t, keys.path), "\n")
		r.must(os.WriteFile(keys.path, []byte(lines[1]), 0o600))
		s.wantEnd()
		r.noSockets()
		telemetrytest.Expect(t, r.metrics, `event_streams_closed_total{why="key_removed"} 1`)
	})
	t.Run("the server shuts down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 5*time.Second)
			close(d.slow)
			id := d.create(2)
			s := d.stream(id)
			s.want("progress: processing 0+0/2")
			d.stop()
			time.Sleep(2 * time.Second)
			d.end(id, 0, nil)
			late := d.stream(id)
			late.want("progress: processing 1+0/2")
			for _, s := range []*eventStream{s, late} {
				s.want("image_complete 0 completed: processing 1+0/2")
			}
			for _, s := range []*eventStream{s, late} {
				s.wantEnd()
			}
			if took := time.Since(d.stopped); took != 5*time.Second {
				t.Errorf("the streams ended after %v", took)
			}
			<-d.ended
			d.must(d.err)
		})
	})
	t.Run("before its first event, on a connection that was accepted before the server shuts down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 0)
			close(d.slow)
			id := d.create(1)
			conn := d.dial()
			defer conn.Close()
			synctest.Wait()
			d.stop()
			synctest.Wait()
			_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/events HTTP/1.1\r\nHost: x\r\n\r\n", id)
			d.must(err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			d.must(err)
			defer resp.Body.Close()
			// After an error, an EventSource would not connect again.
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 || !resp.Close || string(body) != "retry: 2000\n\n" || err != nil {
				t.Errorf("got %d %q, %v, close: %t; want an empty stream", resp.StatusCode, body, err, resp.Close)
			}
			<-d.ended
			d.must(d.err)
		})
	})
	t.Run("the server shuts down, and the client reads slowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 0)
			close(d.slow)
			id := d.create(3)
			for i := range 2 {
				d.end(id, i, &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "x"})
			}
			conn := d.dial()
			defer conn.Close()
			_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s/events HTTP/1.1\r\nHost: x\r\n\r\n", id)
			d.must(err)
			synctest.Wait()
			d.stop()
			<-d.ended
			d.must(d.err)
			if took := time.Since(d.stopped); took > 11*time.Second {
				t.Errorf("the shutdown took %v", took)
			}
		})
	})
}

// TestStreamsAreLimited verifies that a stream counts as a WebSocket for the quota of its key.
func TestStreamsAreLimited(t *testing.T) {
	keys := newKeyFile(t, "anna sockets=1", "bert")
	r := setup(t, options{keys: keys.Store})
	anna := []string{"Authorization", keys.keys["anna"]}
	id := r.createAs(keys, "anna", 1)
	s := r.stream(id, anna...)
	s.want("progress: processing 0+0/1")
	for _, path := range []string{"/events", "/ws"} {
		got := r.as(keys, "anna", "GET", "/api/v1/batch/"+id+path, "", upgrade...)
		want := `{"error":"Too many WebSocket connections, event streams and waiting requests with this API key, try again later","status":429}` + "\n"
		if string(got.body) != want || got.header.Get("Retry-After") != "5" {
			t.Errorf("%s past the quota: got %s %v", path, got.body, got.header)
		}
	}
	if got := r.as(keys, "bert", "GET", "/api/v1/batch/"+id+"/events", ""); got.status != 404 {
		t.Errorf("another's job: got %d %s", got.status, got.body)
	}
	// A key in the URL, which EventSource could send, ends up in logs.
	wantError(t, r.get("/api/v1/batch/"+id+"/events?api_key="+keys.keys["anna"][7:]), 401, "API key required")
	r.end(id, 0, nil)
	s.rest()
	r.noSockets()
	r.stream(id, anna...).rest()
}

// TestEventsForPages verifies that a page of an allowed origin may read a stream, although the
// server writes the stream's header itself.
func TestEventsForPages(t *testing.T) {
	const page = "https://app.example.com"
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, page)}})
	id := r.create(1)
	for origin, want := range map[string]string{page: page, "https://evil.example": ""} {
		s := r.stream(id, "Origin", origin)
		if got := s.header.Get("Access-Control-Allow-Origin"); got != want || s.header.Get("Vary") != "Origin" {
			t.Errorf("%s: got %v", origin, s.header)
		}
	}
	got := r.do("OPTIONS", "/api/v1/batch/"+id+"/events", nil, "Origin", page, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization, last-event-id")
	if got.status != 204 || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Last-Event-ID") {
		t.Errorf("the preflight: got %d %v", got.status, got.header)
	}
}
