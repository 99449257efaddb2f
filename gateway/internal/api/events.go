package api

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
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
	k := &stream{conn: conn, chunked: r.ProtoAtLeast(1, 1), interval: s.config.WSPingInterval, start: time.Now(), closed: make(chan struct{})}
	k.due, k.head = k.interval, k.response(h)
	s.startFollowing(c, k, watcher, closed)
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
	start    time.Time
	due      time.Duration // time of the next comment, since start
	head     []byte        // header of the response, until it is sent
	closed   chan struct{} // closed by end
}

// response returns the header of the response and the start of its body.
func (k *stream) response(h http.Header) []byte {
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if k.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // a buffer takes every write
	b.WriteString("\r\n")
	return k.part(b.Bytes(), streamStart)
}

// listen waits until the client disconnects. It stops reading at a limit: after that, a write
// notices that the client has disconnected.
func (k *stream) listen() error {
	b := make([]byte, 64)
	for early := 0; early < earlyLimit; {
		n, err := k.conn.Read(b)
		if err != nil {
			return err
		}
		early += n
	}
	<-k.closed
	return net.ErrClosed
}

// tick sends the header at the start, and a comment when one is due.
func (k *stream) tick() (time.Duration, error) {
	switch now := time.Since(k.start); {
	case now >= k.due:
		k.due = now + k.interval
		if err := k.write(streamComment); err != nil {
			return 0, err
		}
	case k.head != nil: // there were no events
		if err := k.flush(k.head); err != nil {
			return 0, err
		}
	}
	return k.due - time.Since(k.start), nil
}

// send sends an event. Its ID is the revision of the job that the client has then received.
func (k *stream) send(e progress.Event, whole bool) error {
	data, err := message(e)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("event: %s\ndata: %s\n\n", e.Kind, data) // JSON contains no line feed
	if whole {
		text = fmt.Sprintf("id: %d\n%s", revision(&e), text)
	}
	return k.write(text)
}

// end ends the body, so that the client can distinguish an end from a lost connection, and closes
// the connection.
func (k *stream) end(reason error) {
	if _, _, why := closeOf(reason); why != "client" && k.chunked && !errors.Is(reason, errNotTaken) {
		_ = k.conn.SetWriteDeadline(time.Now().Add(goodbyeTime))
		_, _ = k.conn.Write(append(k.head, lastChunk...)) // the client may have disconnected
	}
	close(k.closed)
	_ = k.conn.Close() // this ends listen
}

// part returns a part of the body, after head.
func (k *stream) part(head []byte, text string) []byte {
	if k.chunked {
		return fmt.Appendf(head, "%x\r\n%s\r\n", len(text), text)
	}
	return append(head, text...)
}

// write writes a part of the body, after the header unless it is sent.
func (k *stream) write(text string) error { return k.flush(k.part(k.head, text)) }

// flush writes data, which starts with the header unless it is sent, within the time for a frame.
func (k *stream) flush(data []byte) error {
	k.head = nil
	_ = k.conn.SetWriteDeadline(time.Now().Add(frameTime)) // a write to a closed connection returns the error
	_, err := k.conn.Write(data)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("send event: %w: %w", errNotTaken, err)
	case err != nil:
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}
