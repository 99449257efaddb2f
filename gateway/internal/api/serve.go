package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// drainTime is what running requests have to finish once the server is told to
// stop, the drain delay included.
const drainTime = 20 * time.Second

// Serve answers on l until ctx ends. It goes on for the drain delay, in which a
// load balancer reads that the server is not ready, and asks every client that
// comes meanwhile to take another connection next. Then it takes no new
// connections, answers those that it has taken, closes WebSockets with 1001, lets
// running requests finish until 20 s after the end of ctx and cuts off the rest;
// when it returns no handler runs any more. It is called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      writeTime, // of what the server answers by itself; handlers have their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64<<10 - 4096, // net/http adds 4096
		ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
		ConnContext:       rememberConn,
		ConnState:         settleConn,

		// net/http would wait for the body of OPTIONS * for ever.
		DisableGeneralOptionsHandler: true,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(documented{l, &s.arrivals, &s.connections, s.figures.full}) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	close(s.leaving)
	if err == nil {
		err = s.linger(served)
	}
	close(s.closing)
	if err == nil {
		err = s.unlisten(drain, server, l, served)
	}
	stopped := s.stop(drain, server)
	if err != nil {
		return errors.Join(fmt.Errorf("serve %s: %w", l.Addr(), err), stopped)
	}
	return stopped
}

// linger waits for the drain delay to pass, or for the end of the listener.
func (s *Server) linger(served <-chan error) error {
	delay := time.NewTimer(s.config.DrainDelay)
	defer delay.Stop()
	select {
	case err := <-served:
		return err
	case <-delay.C:
		return nil
	}
}

func (s *Server) stop(drain context.Context, server *http.Server) error {
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish requests: %w", err), server.Close())
	}
	s.mu.Lock()
	s.drained = true
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// documentedConn is a connection of such a listener.
type documentedConn struct {
	net.Conn
	arrivals *arrivals
	arriving atomic.Bool // it is counted in arrivals
	place    place
	leave    func() // gives the place up

	// handled is true from the beginning of a handler to the end of its answer. What
	// is written then may hold a stranger's bytes, which can look like anything.
	handled atomic.Bool
}

type connKey struct{}

// rememberConn lets a handler find the connection of its request.
func rememberConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// handling says that from now on a handler answers r.
func handling(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*documentedConn); ok {
		conn.handled.Store(true)
		conn.arrive(false)
	}
}

// settleConn is told that a request is on its way, or that an answer is written
// and the next request may come.
func settleConn(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*documentedConn)
	if !ok {
		return
	}
	switch state {
	case http.StateNew, http.StateActive:
		c.arrive(true)
	case http.StateIdle:
		c.handled.Store(false)
	case http.StateClosed:
		c.arrive(false)
	}
}

// arrive says whether a request is on its way, for the count.
func (c *documentedConn) arrive(now bool) {
	switch before := c.arriving.Swap(now); {
	case now && !before:
		c.arrivals.add(1)
	case before && !now:
		c.arrivals.add(-1)
	}
}

// Read implements net.Conn. Where the listener speaks TLS, a client that does not is
// told so in its own language.
func (c *documentedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if strange, ok := errors.AsType[tls.RecordHeaderError](err); ok && strange.Conn != nil && isHTTP(strange.RecordHeader[:]) {
		if answer, err := ownAnswer(http.StatusBadRequest, "This address speaks HTTPS only"); err == nil {
			_ = strange.Conn.SetWriteDeadline(time.Now().Add(lingerTime)) // the write tells what is wrong
			_, _ = strange.Conn.Write(answer)                             // the client may be gone
		}
	}
	return n, err
}

// isHTTP reports whether a plain request begins so, as far as the header of a TLS
// record tells.
func isHTTP(head []byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}, string(head))
}

// Write implements net.Conn.
func (c *documentedConn) Write(p []byte) (int, error) {
	if c.handled.Load() {
		return c.Conn.Write(p)
	}
	answer, ok := redress(p)
	if !ok {
		return c.Conn.Write(p)
	}
	// After it net/http reads the body that came with an expectation, and sets no
	// limit for that.
	if err := c.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return 0, err
	}
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite lets net/http finish writing before it closes.
func (c *documentedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// redress makes the documented answer of one that net/http gives by itself.
func redress(p []byte) ([]byte, bool) {
	const (
		start   = "HTTP/1.1 "
		headers = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	)
	if !bytes.HasPrefix(p, []byte(start)) || len(p) < len(start)+3 {
		return nil, false
	}
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	unmet := bytes.HasPrefix(p, []byte(start+"417 "))
	if !unmet && !bytes.HasPrefix(p[len(line):], []byte(headers)) {
		return nil, false
	}
	status, err := strconv.Atoi(string(p[len(start) : len(start)+3]))
	if err != nil || status < 400 {
		return nil, false
	}
	answer, err := ownAnswer(status, http.StatusText(status))
	return answer, err == nil
}

// ownAnswer is one that is given below net/http.
func ownAnswer(status int, text string) ([]byte, error) {
	body, err := encode(errorJSON{text, status})
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Security-Policy: "+plainPolicy+"\r\nReferrer-Policy: no-referrer\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), len(body), body), nil
}
