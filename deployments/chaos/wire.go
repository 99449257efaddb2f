package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// wire stands between one service and the broker and does what networks do.
type wire struct {
	target  string
	listen  net.Listener
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	conns   map[net.Conn]struct{}
	delay   time.Duration // of every piece of data, each way
	blocked chan struct{} // nil: data flows; else it is closed when it flows again
	refuse  bool          // new connections are cut at once
	closed  bool
}

func newWire(target string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // close ends it.
	if err != nil {
		return nil, fmt.Errorf("listen for a wire: %w", err)
	}
	w := &wire{target: target, listen: l, conns: map[net.Conn]struct{}{}}
	w.running.Go(w.accept)
	return w, nil
}

func (w *wire) addr() string { return w.listen.Addr().String() }

// close cuts everything and waits for its end.
func (w *wire) close() {
	w.heal()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	_ = w.listen.Close() // nothing is lost by it
	w.cut()
	w.running.Wait()
}

func (w *wire) accept() {
	for {
		conn, err := w.listen.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() { w.pass(conn) })
	}
}

// add remembers a connection that cut is to end.
func (w *wire) add(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse || w.closed {
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *wire) drop(c net.Conn) {
	_ = c.Close() // it may be closed already
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *wire) pass(in net.Conn) {
	defer w.drop(in)
	if !w.add(in) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(out)
	if !w.add(out) {
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { w.copy(out, in) })
	ways.Go(func() { w.copy(in, out) })
	ways.Wait()
}

func (w *wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			w.mu.Lock()
			delay, blocked := w.delay, w.blocked
			w.mu.Unlock()
			if delay > 0 {
				wait := time.NewTimer(delay)
				<-wait.C
			}
			if blocked != nil {
				<-blocked
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut resets all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset instead of a polite end
		}
		_ = c.Close() // it may be closed already
	}
}

func (w *wire) slow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// blackHole lets nothing through, and nobody is told.
func (w *wire) blackHole() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blocked == nil {
		w.blocked = make(chan struct{})
	}
}

// away cuts everything and takes no connection.
func (w *wire) away() {
	w.mu.Lock()
	w.refuse = true
	w.mu.Unlock()
	w.cut()
}

// heal ends whatever was wrong.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay, w.refuse = 0, false
	if w.blocked != nil {
		close(w.blocked)
		w.blocked = nil
	}
}
