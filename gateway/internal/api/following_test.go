package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestGoroutinesOfWatchers verifies that an idle event stream takes at most one goroutine, and
// an idle WebSocket one in addition to that of the library, also after it has sent events. Each
// takes at least 4 KiB of memory.
func TestGoroutinesOfWatchers(t *testing.T) {
	for path, want := range map[string]int{"/ws": 2, "/events": 1} {
		synctest.Test(t, func(t *testing.T) {
			const watchers = 50
			p := newPipes()
			r := setup(t, options{listener: p})
			id := r.create(2)
			r.client.CloseIdleConnections()
			synctest.Wait()
			before := runtime.NumGoroutine()
			var conns []net.Conn
			for range watchers {
				conn := r.dial()
				_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s%s HTTP/1.1\r\nHost: x\r\n%s\r\n", id, path, headerLines(upgrade))
				r.must(err)
				conns = append(conns, conn)
			}
			// A read takes all that the server writes at a time, without a goroutine of the client.
			buffer := make([]byte, 4096)
			until := func(text string) {
				for _, conn := range conns {
					for got := ""; !strings.Contains(got, text); {
						n, err := conn.Read(buffer)
						r.must(err)
						got += string(buffer[:n])
					}
				}
				synctest.Wait()
			}
			until(`"progress"`)
			r.end(id, 0, nil)
			until(`"image_complete"`)
			if got := runtime.NumGoroutine() - before; got >= watchers*want+watchers/2 { // the rig's may have changed
				t.Errorf("%s: got %d goroutines for %d watchers, want %d", path, got, watchers, watchers*want)
			}
			for _, conn := range conns {
				r.must(conn.Close())
			}
			r.noSockets()
		})
	}
}

// panickyConn is the server's side of a connection that can be made to panic.
type panickyConn struct {
	net.Conn
	panics atomic.Bool
}

func (c *panickyConn) Write(p []byte) (int, error) {
	if c.panics.Load() {
		panic("boom")
	}
	return c.Conn.Write(p)
}

// TestPanicWhileFollowing verifies that a panic ends only its client, and is in the log.
func TestPanicWhileFollowing(t *testing.T) {
	for path, metric := range map[string]string{"/ws": "websockets", "/events": "event_streams"} {
		synctest.Test(t, func(t *testing.T) {
			var log lockedBuffer
			p := newPipes()
			r := setup(t, options{listener: p, log: &log})
			id := r.create(2)
			other := r.dialSocket(id)
			r.wantFrames(other, "progress: processing 0+0/2")

			server, client := net.Pipe()
			conn := &panickyConn{Conn: server}
			p.conns <- conn
			_, err := fmt.Fprintf(client, "GET /api/v1/batch/%s%s HTTP/1.1\r\nHost: x\r\n%s\r\n", id, path, headerLines(upgrade))
			r.must(err)
			buffer := make([]byte, 4096)
			for got := ""; !strings.Contains(got, `"progress"`); {
				n, err := client.Read(buffer)
				r.must(err)
				got += string(buffer[:n])
			}
			synctest.Wait()
			conn.panics.Store(true)
			r.end(id, 0, nil)
			if n, err := client.Read(buffer); err == nil {
				t.Errorf("%s: got %q after the panic", path, buffer[:n])
			}
			r.wantFrames(other, "image_complete 0 completed: processing 1+0/2")
			synctest.Wait()
			telemetrytest.Expect(t, r.metrics, metric+`_closed_total{why="client"} 1`)
			if text := log.String(); !strings.Contains(text, `"panic":"boom"`) || !strings.Contains(text, id) {
				t.Errorf("%s: the log does not report the panic", path)
			}
		})
	}
}

// TestIdleFollowersEndSoon verifies that a client that gets no events is disconnected soon after its
// key is removed or the server shuts down, and not only when the next ping or comment is due.
func TestIdleFollowersEndSoon(t *testing.T) {
	for _, path := range []string{"/ws", "/events"} {
		for _, cause := range []string{"removed", "shutdown"} {
			synctest.Test(t, func(t *testing.T) {
				keys := newKeyFile(t, "anna", "bert")
				r := setup(t, options{listener: newPipes(), keys: keys.Store})
				ctx, cancel := context.WithCancel(t.Context())
				var reloading sync.WaitGroup
				reloading.Go(func() { _ = keys.Run(ctx) })
				defer reloading.Wait()
				defer cancel()
				conn := r.dial()
				_, err := fmt.Fprintf(conn, "GET /api/v1/batch/%s%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s\r\n",
					r.createAs(keys, "anna", 1), path, keys.keys["anna"], headerLines(upgrade))
				r.must(err)
				buffer := make([]byte, 4096)
				for got := ""; !strings.Contains(got, `"progress"`); {
					n, err := conn.Read(buffer)
					r.must(err)
					got += string(buffer[:n])
				}
				synctest.Wait()
				started := time.Now()
				var stopping sync.WaitGroup
				if cause == "removed" {
					lines := strings.Split(readFile(t, keys.path), "\n")
					r.must(os.WriteFile(keys.path, []byte(lines[1]), 0o600))
				} else {
					stopping.Go(func() {
						if err := r.stop(); err != nil {
							t.Error(err)
						}
					})
				}
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Errorf("%s, %s: got %v", path, cause, err)
				}
				if took := time.Since(started); took > 10*time.Second {
					t.Errorf("%s, %s: the client was disconnected after %s", path, cause, took)
				}
				stopping.Wait()
			})
		}
	}
}
