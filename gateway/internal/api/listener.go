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

// maxTurnedAway is the maximum number of concurrent connections past the limit that get a 503.
const maxTurnedAway = 256

// listener limits the number of connections. It also puts the responses that net/http
// writes before any handler into the documented form: those to a malformed request, a
// header that is too large, and an expectation that cannot be met.
//
// It still accepts some connections past the limit, to respond with a 503: in the backlog
// they would wait for the slowest client, and so would a health probe. Beyond these it
// closes connections without a response, which costs the least. Before it exceeds the
// limit, it closes the connection that has waited longest for its next request.
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
		switch s := l.server; {
		case c.take(s.places), s.closeIdle() && c.take(s.places):
			return c, nil
		case c.take(s.spare):
			s.metrics.refused.Inc("answered")
			return c, nil
		}
		l.server.metrics.refused.Inc("closed")
		_ = accepted.Close() // nothing was written
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	server   *Server
	places   chan struct{} // contains an element for this connection
	leave    sync.Once
	arriving atomic.Bool // counted in server.arriving
	waiting  waiting

	// handled is true from the start of a handler to the end of its response. Such a
	// response may contain bytes from a client, which can look like anything.
	handled atomic.Bool
}

// take takes one of the places for the connection, if one is free.
func (c *conn) take(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		c.places = places
		return true
	default:
		return false
	}
}

// Close implements net.Conn. A WebSocket ends here too.
func (c *conn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

func (c *conn) free() { c.leave.Do(func() { <-c.places }) }

// CloseWrite lets net/http finish writing before it closes the connection.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

// connOf returns the connection of a request, or nil in a test without a listener.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// connState tracks whether a request is arriving, whether its response was written, and
// whether the connection waits for the next one.
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
	if state == http.StateIdle {
		c.server.idle.add(c)
	} else {
		c.server.idle.remove(c)
	}
}

// arrive records whether a request is arriving on the connection.
func (c *conn) arrive(now bool) {
	switch before := c.arriving.Swap(now); {
	case now && !before:
		c.server.arriving.Add(1)
	case before && !now:
		c.server.arriving.Add(-1)
	}
}

// checkRoom rejects a request on a connection past the limit. Probes are served anyway: a
// full gateway is still alive.
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

// Read implements net.Conn. If the listener expects TLS, it responds to a plain HTTP
// request in plain HTTP.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.server.idle.read(c, n)
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
			// After it, net/http reads the body that was announced with an expectation,
			// without a limit of its own.
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

// rewriteError returns the documented form of an error response that net/http writes by
// itself, or nil for any other response. There is no hook for these responses. They are
// recognized by their first bytes and by the fact that no handler has started.
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
