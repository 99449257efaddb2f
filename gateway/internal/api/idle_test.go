package api_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// keptConn is a client's connection for several requests.
type keptConn struct {
	*rig
	net.Conn
	in *bufio.Reader
}

func (r *rig) keep() keptConn {
	conn := r.dial()
	return keptConn{r, conn, bufio.NewReader(conn)}
}

func (c keptConn) send(text string) {
	c.Helper()
	_, err := io.WriteString(c.Conn, text)
	c.must(err)
}

// status reads a response.
func (c keptConn) status() int {
	c.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	c.must(err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	c.must(err)
	return resp.StatusCode
}

// ask sends a request and waits until the server waits for the next one.
func (c keptConn) ask() int {
	c.Helper()
	c.send(look)
	status := c.status()
	synctest.Wait()
	return status
}

// open reports whether the server has not closed the connection. It is called when the
// server has nothing to send.
func (c keptConn) open() bool {
	if c.SetReadDeadline(time.Now()) != nil { // of a pipe whose other end is closed
		return false
	}
	_, err := c.in.Peek(1)
	c.must(c.SetReadDeadline(time.Time{}))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// TestIdleConnectionsMakeRoom verifies that, at the limit, a new client is served at the
// expense of the connection that has been idle longest, and never of a WebSocket or of a
// request that has started to arrive.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes(), config: api.Spare(api.Config{MaxConnections: 4}, 1)})
		id := r.create(1)
		r.client.CloseIdleConnections()
		socket := r.dialSocket(id)
		r.wantFrames(socket, "progress: processing 0+0/1")
		synctest.Wait()

		first, second, third := r.keep(), r.keep(), r.keep()
		for _, c := range []keptConn{first, second, third, first} { // so that second is the oldest
			if got := c.ask(); got != 200 {
				t.Fatalf("within the limit: got %d", got)
			}
		}
		fourth := r.keep()
		if got := fourth.ask(); got != 200 {
			t.Fatalf("a new client beside idle connections: got %d", got)
		}
		if second.open() || !first.open() || !third.open() {
			t.Errorf("first, second and third are open: %t, %t, %t; want only the one closed that was idle longest", first.open(), second.open(), third.open())
		}

		third.send("GET /style.css HTT") // its request is arriving
		first.send("GET")                // too short for a request
		synctest.Wait()
		fifth := r.keep()
		if got := fifth.ask(); got != 200 {
			t.Fatalf("a new client beside an arriving request: got %d", got)
		}
		if first.open() || !third.open() || !fourth.open() {
			t.Errorf("first, third and fourth are open: %t, %t, %t; want only the first closed", first.open(), third.open(), fourth.open())
		}
		third.send("P/1.1\r\nHost: x\r\n\r\n")
		if got := third.status(); got != 200 {
			t.Errorf("the request that was arriving: got %d", got)
		}

		for _, c := range []keptConn{third, fourth, fifth} {
			c.send("GET /style.css HTTP/1.1\r\n")
		}
		synctest.Wait()
		sixth := r.keep()
		if got := sixth.ask(); got != 503 {
			t.Errorf("a new client beside busy connections: got %d, want 503", got)
		}
		telemetrytest.Expect(t, r.metrics, "connections_idle_closed_total 2", `connections_refused_total{how="answered"} 1`, "connections 4")
		r.end(id, 0, nil)
		r.wantFrames(socket, "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
	})
}

// TestKeepAlive verifies how long an idle connection is kept, and that it does not delay
// the end of the server.
func TestKeepAlive(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 620 * time.Second, 5 * time.Second: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := setup(t, options{listener: newPipes(), config: api.Config{KeepAlive: set}})
			conn, other := r.keep(), r.keep()
			for range 2 {
				if got := conn.ask(); got != 200 {
					t.Errorf("got %d", got)
				}
				time.Sleep(want - time.Second)
			}
			synctest.Wait()
			if !conn.open() {
				t.Errorf("a connection was closed before %s", want)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if conn.open() {
				t.Errorf("a connection is open after %s", want)
			}
			if other.open() {
				t.Error("a connection without a request is still open")
			}
			last := r.keep()
			last.ask()
			before := time.Now()
			r.must(r.stop())
			if took := time.Since(before); took > time.Second || last.open() {
				t.Errorf("the server ended after %s, and the idle connection is open: %t", took, last.open())
			}
		})
	}
}
