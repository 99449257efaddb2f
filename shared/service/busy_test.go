package service

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// queue is a listener without a network, for tests with a fake clock.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newQueue() queue {
	q := queue{conns: make(chan net.Conn), closed: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.closed) })
	return q
}

func (q queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q queue) Close() error { q.close(); return nil }

func (q queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081} }

// TestShutdownServesAcceptedConnections verifies that a connection accepted before a
// shutdown is served although its request arrives after it, and that a silent
// connection delays the shutdown only briefly.
func TestShutdownServesAcceptedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Listen(t.Context(), "", http.NotFoundHandler())
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue()
		s.listenOn(q)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- RunParts(ctx, slog.New(slog.DiscardHandler), s) }()
		var clients [2]net.Conn
		for i := range clients {
			var server net.Conn
			server, clients[i] = net.Pipe()
			defer clients[i].Close()
			q.conns <- server
		}
		synctest.Wait()

		started := time.Now()
		stop()
		synctest.Wait()
		late := clients[1]
		if _, err := io.WriteString(late, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(late), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 503 || !resp.Close {
			t.Errorf("got %s %s, close: %t, %v; want 503 and a closed connection", resp.Status, body, resp.Close, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("stopped after %s, want at most %v", took, 2*time.Second)
		}
	})
}
