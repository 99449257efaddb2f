package api

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// maxTurnedAway is how many connections past the limit get a 503 at the same time.
const maxTurnedAway = 256

// listener bounds the connections, and gives the documented form also to what
// net/http responds by itself, before any handler: to a malformed request, a header
// that is too large, an expectation that can't be met.
//
// It still accepts some connections past the limit, to respond with a 503: left in
// the backlog they would wait for the slowest client, and a health probe with them.
// Past these it closes connections without a response, which costs the least.
type listener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, server: l.server}
		for _, c.places = range []chan struct{}{l.server.places, l.server.spare} {
			select {
			case c.places <- struct{}{}:
				if c.places == l.server.spare {
					l.server.metrics.refused.Inc("answered")
				}
				return c, nil
			default:
			}
		}
		l.server.metrics.refused.Inc("closed")
		_ = accepted.Close() // nothing was written to it
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	server   *Server
	places   chan struct{} // holds an element of this connection
	leave    sync.Once
	arriving atomic.Bool // counted in server.arriving

	// handled is true from the start of a handler to the end of its response. Such a
	// response may hold bytes of a client, which can look like anything.
	handled atomic.Bool
}

// Close implements net.Conn. A WebSocket ends here too.
func (c *conn) Close() error {
	defer c.leave.Do(func() { <-c.places })
	return c.Conn.Close()
}

// CloseWrite lets net/http finish writing before it closes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// connOf returns the connection of a request, nil in a test without a listener.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// connState tracks whether a request is on its way, and whether its response was
// written.
func connState(nc net.Conn, state http.ConnState) {
	c := nc.(*conn) //nolint:forcetypeassert // listener accepts no other
	switch state {
	case http.StateNew, http.StateActive:
		c.arrive(true)
	case http.StateIdle:
		c.handled.Store(false)
	case http.StateClosed:
		c.arrive(false)
	}
}

// arrive counts the connection as one whose request is on its way, or no longer.
func (c *conn) arrive(now bool) {
	switch before := c.arriving.Swap(now); {
	case now && !before:
		c.server.arriving.Add(1)
	case before && !now:
		c.server.arriving.Add(-1)
	}
}

// checkRoom refuses a request whose connection is past the limit. Probes are served
// all the same: a full gateway is not dead.
func (s *Server) checkRoom(c echo.Context) error {
	if conn := connOf(c.Request()); conn == nil || conn.places != s.spare {
		return nil
	}
	c.Response().Header().Set("Connection", "close")
	if detailsOf(c).Access&Probe != 0 {
		return nil
	}
	return errConnections
}

// Read implements net.Conn. Where the listener expects TLS, it responds to a plain
// HTTP request in plain HTTP.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && // it has the first five bytes
		slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}, string(plain.RecordHeader[:])) {
		_ = plain.Conn.SetWriteDeadline(time.Now().Add(lingerTime)) // the write returns the error
		_, _ = plain.Conn.Write(rawError(http.StatusBadRequest, "This address speaks HTTPS only"))
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if !c.handled.Load() {
		if rewritten := rewriteError(p); rewritten != nil {
			// After it net/http reads the body that came with an expectation, without a
			// limit of its own.
			if err := c.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
				return 0, err
			}
			if _, err := c.Conn.Write(rewritten); err != nil {
				return 0, err
			}
			return len(p), nil
		}
	}
	return c.Conn.Write(p)
}

// rewriteError returns the documented form of an error response that net/http writes
// by itself, nil for any other. There is no hook for these responses: their first
// bytes tell them apart, and that no handler has started.
func rewriteError(p []byte) []byte {
	const headers = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	rest, ok := bytes.CutPrefix(p, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 {
		return nil
	}
	line, _, _ := bytes.Cut(rest, []byte("\r\n"))
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil || status < 400 || status != http.StatusExpectationFailed && !bytes.HasPrefix(rest[len(line):], []byte(headers)) {
		return nil
	}
	return rawError(status, http.StatusText(status))
}

// rawError returns an error response that is written below net/http.
func rawError(status int, text string) []byte {
	body, _ := encode(errorJSON{text, status}) // strings and numbers always encode
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Security-Policy: "+plainPolicy+"\r\nReferrer-Policy: no-referrer\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}
