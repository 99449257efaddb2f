package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
)

// Bounds on how slowly a client may send and take.
const (
	writeTime = 30 * time.Second // for the client to take what is written at once

	// What is read of a body that nobody wants, so that its sender gets to see the
	// answer instead of a broken connection.
	lingerTime  = 2 * time.Second
	lingerBytes = 32 << 20
)

// pace is how slowly a request's body may come.
type pace struct {
	slowest  int64         // bytes a second
	patience time.Duration // that it may be behind that
}

// pacedBody reads a request's body and gives it up when it comes too slowly. Only
// time that is spent waiting for the client counts, and being ahead earns it no
// more than patience.
type pacedBody struct {
	body    io.Reader
	control *http.ResponseController
	pace    pace
	credit  time.Duration
	read    int64
}

func newPacedBody(c echo.Context, p pace, maxBytes int64) *pacedBody {
	w := c.Response().Writer
	return &pacedBody{
		body:    http.MaxBytesReader(w, c.Request().Body, maxBytes),
		control: http.NewResponseController(w), pace: p, credit: p.patience,
	}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	if err := b.control.SetReadDeadline(began.Add(b.credit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("%w: %w", errCutOff, err)
	}
	n, err := b.body.Read(p)
	b.read += int64(n)
	b.credit = min(b.credit-time.Since(began)+time.Duration(int64(n)*int64(time.Second)/b.pace.slowest), b.pace.patience)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		// From now on the server itself watches the connection, for its end only. After
		// every other error it may try to read the rest, which must not take for ever.
		if err := b.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return n, fmt.Errorf("%w: %w", errCutOff, err)
		}
		return n, io.EOF
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, fmt.Errorf("%w: %w", errSlow, err)
	}
	return n, fmt.Errorf("%w: %w", errCutOff, err)
}

// linger reads on for a moment after an answer that came before the end of the
// body.
func (b *pacedBody) linger(r *http.Request) {
	if b.read == 0 && r.Header.Get("Expect") != "" {
		return // the client waits for the answer before it sends
	}
	if b.control.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, lingerBytes) // whatever ends it, ends it
	}
}

// finishBody reads the body of a request that should have none, because net/http
// would wait for it without a limit before it answers.
func (s *Server) finishBody(c echo.Context) error {
	r := c.Request()
	if r.ContentLength == 0 || isUpload(c) {
		return nil
	}
	const most = 64 << 10
	_, err := io.Copy(io.Discard, newPacedBody(c, s.config.pace, most))
	return err
}

// pacedWriter gives the client writeTime to take each write.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	cutOff  bool
	socket  *farewell // when it was hijacked
}

func newPacedWriter(w http.ResponseWriter) *pacedWriter {
	p := &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	// The server's own limit runs from the request's header on, which would end long
	// uploads. An error means that there is no connection, as in tests.
	_ = p.control.SetWriteDeadline(time.Time{})
	return p
}

func (p *pacedWriter) WriteHeader(status int) {
	p.extend()
	p.ResponseWriter.WriteHeader(status)
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

func (p *pacedWriter) extend() {
	if !p.cutOff {
		_ = p.control.SetWriteDeadline(time.Now().Add(writeTime))
	}
}

// Unwrap is for http.ResponseController.
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Hijack implements http.Hijacker, for a WebSocket.
func (p *pacedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := p.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	in := &inbound{Conn: conn}
	early, err := buffers.Peek(buffers.Reader.Buffered())
	if err != nil {
		return nil, nil, fmt.Errorf("read what came with the request: %w", err)
	}
	in.take(early, time.Now())
	p.socket = newFarewell(in)
	buffers.Writer.Reset(p.socket)
	return p.socket, buffers, nil
}

// cut breaks the connection off when the handler returns: what is still to be
// written can't be, so that the client sees that the answer is incomplete.
func cut(c echo.Context) {
	if p, ok := c.Response().Writer.(*pacedWriter); ok {
		p.cutOff = true
		_ = p.control.SetWriteDeadline(time.Unix(1, 0)) // without a connection there is nothing to break off
	}
}

// farewellOf is the connection under the WebSocket that took over from an answer.
func farewellOf(c echo.Context) *farewell {
	p, ok := c.Response().Writer.(*pacedWriter)
	if !ok {
		return nil
	}
	return p.socket
}
