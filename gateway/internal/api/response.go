package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// writeTime is the time within which a client must take each write.
const writeTime = 30 * time.Second

// The buffers of a WebSocket, in bytes. A frame that is larger is read or written in parts.
const (
	readBuffer  = 128
	writeBuffer = 1 << 10
)

// responseWriter gives the client writeTime to take each write.
type responseWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	aborted bool
	socket  *closeFrameConn // after Hijack
}

func newResponseWriter(w http.ResponseWriter) *responseWriter {
	r := &responseWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	// The server's own limit starts at the request's header, so it would end long
	// uploads. An error means that there is no connection, as in tests.
	_ = r.control.SetWriteDeadline(time.Time{})
	return r
}

func (r *responseWriter) WriteHeader(status int) {
	r.extend()
	r.ResponseWriter.WriteHeader(status)
}

func (r *responseWriter) Write(b []byte) (int, error) {
	r.extend()
	return r.ResponseWriter.Write(b)
}

func (r *responseWriter) extend() {
	if !r.aborted {
		_ = r.control.SetWriteDeadline(time.Now().Add(writeTime))
	}
}

// Unwrap serves http.ResponseController.
func (r *responseWriter) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// takeOver returns the connection, which net/http then no longer manages.
func (r *responseWriter) takeOver() (net.Conn, error) {
	conn, _, err := r.control.Hijack()
	return conn, err
}

// Hijack implements http.Hijacker, for a WebSocket.
func (r *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := r.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	in := &frameLimitConn{Conn: conn, start: time.Now()}
	early, err := buffers.Peek(buffers.Reader.Buffered())
	if err != nil {
		return nil, nil, fmt.Errorf("read frames that came with the request: %w", err)
	}
	in.count(early, time.Now())
	r.socket = &closeFrameConn{Conn: in, in: in, out: make(chan struct{})}
	// The buffers of net/http, of 4 KiB each, would stay as long as the connection. Small ones
	// are enough: clients send little, and most frames take less than 1 KiB.
	first := io.MultiReader(bytes.NewReader(early), in)
	reader := bufio.NewReaderSize(first, max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, fmt.Errorf("keep frames that came with the request: %w", err)
	}
	return r.socket, bufio.NewReadWriter(reader, bufio.NewWriterSize(r.socket, writeBuffer)), nil
}

// abort closes the connection when the handler returns: the rest cannot be written, so
// the client sees that the response is incomplete.
func abort(c echo.Context) {
	if r, ok := c.Response().Writer.(*responseWriter); ok {
		r.aborted = true
		_ = r.control.SetWriteDeadline(time.Unix(1, 0)) // without a connection there is nothing to close
	}
}
