package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// The event stream has the frames of the WebSocket as server-sent events (WHATWG HTML,
// section 9.2). The ID of an event is the revision of the job up to which the client has
// received all frames, so every gateway can resume after it, also after a restart.

const (
	// streamStart sets the time after which a browser connects again, in milliseconds.
	streamStart = "retry: 2000\n\n"
	// streamComment is what clients ignore, and proxies see.
	streamComment = ":\n\n"
	// lastChunk ends a chunked body, so that the client can distinguish an end from a lost
	// connection.
	lastChunk = "0\r\n\r\n"
	// earlyLimit is the maximum number of bytes read after the request. Nothing is expected,
	// but reading notices that the client disconnects.
	earlyLimit = 4 << 10
)

// events lets a client watch a job over server-sent events. Like a WebSocket, the stream takes
// over the connection: without net/http's request and buffers, a client costs less memory.
func (s *Server) events(c echo.Context) error {
	r, d, h := c.Request(), detailsOf(c), c.Response().Header()
	after := lastEventID(r.Header)
	if r.Method == http.MethodHead {
		j, err := s.find(c)
		if err != nil {
			return err
		}
		return c.NoContent(startStream(h, j, after))
	}
	watcher, closed, err := s.follow(r.Context(), d)
	if err != nil {
		return err
	}
	if status := startStream(h, watcher.Job(), after); status != http.StatusOK {
		closed()
		return c.NoContent(status)
	}
	watcher.Resume(after)
	conn, err := c.Response().Writer.(*responseWriter).takeOver() //nolint:forcetypeassert // Handler has set it
	if err != nil {
		closed()
		return fmt.Errorf("take over the connection: %w", err)
	}
	k := &stream{conn: conn, chunked: r.ProtoAtLeast(1, 1), interval: s.config.WSPingInterval}
	head := k.head(h)
	// A separate goroutine frees the request and its stack, as for a WebSocket. Serve waits
	// for it.
	s.running.Add(1)
	ctx, id, removed, start := context.WithoutCancel(r.Context()), d.jobID, d.by.Removed(), time.Now()
	go func() {
		defer s.running.Done()
		defer closed()
		defer func() {
			if p := recover(); p != nil { // a panic ends this stream but not the process
				s.deps.Log.ErrorContext(ctx, "panic in an event stream", "job_id", id, "panic", bounded(fmt.Sprint(p)), "stack", string(debug.Stack()))
			}
		}()
		s.metrics.streams.Add(1)
		defer s.metrics.streams.Add(-1)
		why := k.serve(head, watcher, s.closing, removed)
		s.metrics.ends.Inc(why)
		s.deps.Log.DebugContext(ctx, "event stream closed", "job_id", id, "why", why, "duration", time.Since(start))
	}()
	return nil
}

// lastEventID returns the revision after which the client resumes, or 0 if it starts from the
// beginning. An ID that is not a revision is not an error: an EventSource whose request is
// rejected would never connect again.
func lastEventID(h http.Header) int64 {
	id, err := strconv.ParseInt(h.Get("Last-Event-ID"), 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}

// startStream returns 204, which stops an EventSource, if the client has received the last event
// of the job. Otherwise it sets the headers of a stream and returns 200. The connection ends
// with the stream, so that after a shutdown the client reaches another gateway.
func startStream(h http.Header, j *job.Job, after int64) int {
	h.Set("Cache-Control", noStore+", no-transform") // a proxy that compresses would hold events back
	if j.Status.Ended() && after == j.Revision {
		return http.StatusNoContent
	}
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of nginx
	h.Set("Connection", "close")
	return http.StatusOK
}

// stream is one open event stream.
type stream struct {
	conn     net.Conn
	chunked  bool
	interval time.Duration // between two comments
}

// head returns the header of the response.
func (k *stream) head(h http.Header) []byte {
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if k.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // a buffer takes every write
	b.WriteString("\r\n")
	return b.Bytes()
}

// serve sends the events of the watcher until the job has ended, the client is disconnected or
// does not take an event, closing is closed, or the key is removed. It returns the reason as
// the label of the metric.
func (k *stream) serve(head []byte, w *progress.Watcher, closing, removed <-chan struct{}) string {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = k.conn.Close() }() // this ends listen
	gone := make(chan struct{})
	wg.Go(func() { k.listen(gone) })

	comment := time.NewTicker(k.interval)
	defer comment.Stop()
	err := k.write(head, streamStart)
	for err == nil {
		select {
		case <-gone:
			return "client"
		case <-closing:
			err = progress.ErrClosed
		case <-removed:
			err = errRemoved
		case <-w.Ready():
			err = k.send(w, closing)
		case <-comment.C:
			err = k.write(nil, streamComment)
		}
	}
	for _, c := range closes {
		if errors.Is(err, c.err) {
			if k.chunked && !errors.Is(err, errNotTaken) {
				_ = k.conn.SetWriteDeadline(time.Now().Add(goodbyeTime))
				_, _ = io.WriteString(k.conn, lastChunk) // the client may have disconnected
			}
			return c.why
		}
	}
	return "client"
}

// listen closes gone when the client disconnects. It stops reading at a limit: after that, a
// write notices that the client has disconnected.
func (k *stream) listen(gone chan<- struct{}) {
	b := make([]byte, 64)
	for early := 0; early < earlyLimit; {
		n, err := k.conn.Read(b)
		if err != nil {
			close(gone)
			return
		}
		early += n
	}
}

// send sends the pending events. It returns errJobEnded after the last event of the job, and
// [progress.ErrClosed] after the current event when closing is closed, as a WebSocket does.
func (k *stream) send(w *progress.Watcher, closing <-chan struct{}) error {
	events, err := w.Next()
	if err != nil {
		return err
	}
	for i, e := range events {
		select {
		case <-closing:
			return progress.ErrClosed
		default:
		}
		data, err := encode(eventShape(e))
		if err != nil {
			return err
		}
		text := fmt.Sprintf("event: %s\ndata: %s\n", e.Kind, data) // JSON ends with a line feed and contains no other
		if i+1 == len(events) || revision(&events[i+1]) > revision(&e) && e.Kind != progress.Progress {
			text = fmt.Sprintf("id: %d\n%s", revision(&e), text)
		}
		if err := k.write(nil, text); err != nil {
			return err
		}
		if e.Kind == progress.JobComplete {
			return errJobEnded
		}
	}
	return nil
}

// revision returns the revision of the change that an event reports.
func revision(e *progress.Event) int64 {
	if e.Image != nil {
		return e.Image.Revision
	}
	return e.Job.Revision
}

// write writes a part of the body, after head, within the time for a frame.
func (k *stream) write(head []byte, text string) error {
	if k.chunked {
		head = fmt.Appendf(head, "%x\r\n%s\r\n", len(text), text)
	} else {
		head = append(head, text...)
	}
	_ = k.conn.SetWriteDeadline(time.Now().Add(frameTime)) // a write to a closed connection returns the error
	_, err := k.conn.Write(head)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("send event: %w: %w", errNotTaken, err)
	case err != nil:
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}
