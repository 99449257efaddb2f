package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo sends each line back until the test ends.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // The cleanup ends it.
	must(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() {
		must(t, l.Close())
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_, _ = io.Copy(conn, conn) // until the other side closes
				_ = conn.Close()
			})
		}
	})
	return l.Addr().String()
}

func newTestWire(t *testing.T) *wire {
	t.Helper()
	w, err := newWire(echo(t))
	must(t, err)
	t.Cleanup(func() { must(t, w.disconnect()) })
	return w
}

// caller is one connection through a wire.
type caller struct {
	net.Conn
	lines *bufio.Reader
}

func call(t *testing.T, w *wire) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr) //nolint:noctx // Loopback.
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed already
	return &caller{conn, bufio.NewReader(conn)}
}

// roundTrip sends a line and waits for it to come back.
func (c *caller) roundTrip(within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return err
	}
	_, err := c.lines.ReadString('\n')
	return err
}

// TestWire applies each fault to a connection and verifies that the wire works again
// afterwards: the same connection, if no data was lost in it.
func TestWire(t *testing.T) {
	const long, short = 10 * time.Second, 200 * time.Millisecond
	t.Run("slow", func(t *testing.T) {
		w := newTestWire(t)
		c := call(t, w)
		must(t, c.roundTrip(long))
		must(t, w.toxic("latency", map[string]int{"latency": 100}))
		started := time.Now()
		must(t, c.roundTrip(long))
		if took := time.Since(started); took < 200*time.Millisecond {
			t.Errorf("round trip took %s, want twice 100 ms", took)
		}
		must(t, w.heal())
		must(t, c.roundTrip(long))
	})
	t.Run("dead", func(t *testing.T) {
		w := newTestWire(t)
		c := call(t, w)
		must(t, w.toxic("timeout", map[string]int{"timeout": 0}))
		if err := c.roundTrip(short); err == nil {
			t.Error("a dead wire responds")
		} else if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("a dead wire returns %v, want a timeout", err)
		}
		must(t, w.heal())
		must(t, call(t, w).roundTrip(long))
	})
	t.Run("reset", func(t *testing.T) {
		w := newTestWire(t)
		must(t, w.toxic("reset_peer", map[string]int{"timeout": 0}))
		if err := call(t, w).roundTrip(long); err == nil {
			t.Error("a wire that resets connections responds")
		}
		must(t, w.heal())
		must(t, call(t, w).roundTrip(long))
	})
	t.Run("unavailable", func(t *testing.T) {
		w := newTestWire(t)
		c := call(t, w)
		must(t, c.roundTrip(long))
		must(t, w.disconnect())
		if err := c.roundTrip(long); err == nil {
			t.Error("the connection survives the end of its wire")
		}
		if _, err := net.Dial("tcp", w.addr); err == nil { //nolint:noctx // Loopback.
			t.Error("an unavailable wire accepts a connection")
		}
		must(t, w.heal())
		must(t, call(t, w).roundTrip(long))
	})
	t.Run("cut", func(t *testing.T) {
		w := newTestWire(t)
		c := call(t, w)
		must(t, c.roundTrip(long))
		must(t, w.cut())
		if err := c.roundTrip(long); err == nil {
			t.Error("the connection survives the cut")
		}
		must(t, call(t, w).roundTrip(long))
	})
}

// TestStuckWire changes a wire whose receiver does not read, and verifies that new
// connections work anyway.
func TestStuckWire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // Closed below.
	must(t, err)
	defer l.Close()
	w, err := newWire(l.Addr().String())
	must(t, err)
	c := call(t, w)
	deaf, err := l.Accept()
	must(t, err)
	defer deaf.Close()
	// All buffers are full when several writes in a row get no byte through: one may fail because the machine is slow.
	for chunk, refused := make([]byte, 1<<20), 0; refused < 5; refused++ {
		must(t, c.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		if n, _ := c.Write(chunk); n > 0 {
			refused = -1
		}
	}
	if err := w.heal(); err != nil {
		t.Fatalf("heal a wire without a toxic: %v", err)
	}
	if err := w.toxic("latency", map[string]int{"latency": 1}); !errors.Is(err, errStuck) {
		t.Fatalf("change a stuck wire: got %v, want errStuck", err)
	}
	fresh := call(t, w)
	other, err := l.Accept()
	must(t, err)
	defer other.Close()
	_, err = fresh.Write([]byte("hello\n"))
	must(t, err)
	if text, err := bufio.NewReader(other).ReadString('\n'); err != nil || text != "hello\n" {
		t.Errorf("a new connection received %q, %v", text, err)
	}
}
