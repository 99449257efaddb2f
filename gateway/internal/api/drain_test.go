package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/shared/service"
)

// pipes is a listener without a network, for tests with a fake clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	server, client := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drained is a server that stops at the end of ctx, as in the gateway.
type drained struct {
	*rig
	pipes   *pipes
	stop    func()        // as SIGTERM does
	stopped time.Time     // time of stop
	ended   chan struct{} // closed when Serve has returned
	err     error         // error of Serve
	slow    chan struct{} // closed to let the response of /metrics be sent
}

func setupDrain(t *testing.T, delay time.Duration) *drained {
	t.Helper()
	d := &drained{pipes: newPipes(), ended: make(chan struct{}), slow: make(chan struct{})}
	ops, err := service.Listen(t.Context(), "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-d.slow:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "metrics") // The client may have disconnected.
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	d.stop = func() { d.stopped = time.Now(); stop() }
	d.rig = setup(t, options{
		config: api.Config{DrainDelay: delay}, ops: ops.Handler(), listener: d.pipes,
		run: func(_ context.Context, serve func(context.Context) error) error {
			defer close(d.ended)
			d.err = service.RunParts(ctx, slog.New(slog.DiscardHandler), ops, service.Part{Name: "api", Run: serve})
			return nil
		},
	})
	t.Cleanup(stop)
	return d
}

// ask returns the status, the body, and whether the response closes the connection; the
// status is 0 if no connection is accepted.
func (d *drained) ask(path string) (status int, body string, last bool) {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), http.MethodGet, d.url+path, nil)
	d.must(err)
	resp, err := d.client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, "", false
	}
	d.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	d.must(err)
	return resp.StatusCode, string(text), resp.Close
}

// TestDrain stops a server behind a load balancer. /readyz returns 503 for the whole
// delay, and clients that connect in the meantime are served and asked to close their
// connections. Requests that run at the end of the delay finish.
func TestDrain(t *testing.T) {
	const delay = 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		d := setupDrain(t, delay)
		id := d.create(2)
		watching := d.dialSocket(id)
		d.wantFrames(watching, "progress: processing 0+0/2")
		running := make(chan response, 1)
		go func() { running <- d.get("/metrics") }()
		synctest.Wait()
		if status, body, last := d.ask("/readyz"); status != 200 || last {
			t.Errorf("before: got %d %s, close: %t", status, body, last)
		}

		d.stop()
		for time.Since(d.stopped) < delay-time.Second {
			synctest.Wait()
			for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/api/v1/batch/" + id: 200} {
				if status, body, last := d.ask(path); status != want || !last {
					t.Errorf("%s during the delay: got %d %s, close: %t", path, status, body, last)
				}
			}
			time.Sleep(time.Second)
		}
		d.create(1)
		d.end(id, 0, nil)
		d.wantFrames(watching, "image_complete 0 completed: processing 1+0/2")
		late := d.dialSocket(id)
		d.wantFrames(late, "progress: processing 1+0/2", "image_complete 0 completed: processing 1+0/2")

		for _, k := range []*websocket.Conn{watching, late} {
			d.wantClose(k, websocket.StatusGoingAway)
		}
		if took := time.Since(d.stopped); took < delay || took > delay+time.Second {
			t.Errorf("the WebSockets were closed after %s", took)
		}
		synctest.Wait()
		if status, _, _ := d.ask("/readyz"); status != 0 {
			t.Errorf("after the delay: got %d", status)
		}
		time.Sleep(10 * time.Second)
		close(d.slow)
		if got := <-running; got.status != 200 || string(got.body) != "metrics" {
			t.Errorf("the running request: got %d %s", got.status, got.body)
		}
		<-d.ended
		if took := time.Since(d.stopped); took < delay+10*time.Second || took > 20*time.Second {
			t.Errorf("stopped after %s", took)
		}
		d.must(d.err)
	})
}

// TestDrainEndsInTime verifies that a request that does not end is aborted 20 s after the
// signal, however long the delay is.
func TestDrainEndsInTime(t *testing.T) {
	for _, delay := range []time.Duration{0, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, delay)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/api/v1/batch", endless{t.Context()})
				if err == nil {
					var resp *http.Response
					if resp, err = d.client.Do(req); err == nil {
						defer resp.Body.Close()
						_, err = io.Copy(io.Discard, resp.Body)
					}
				}
				if err == nil {
					t.Error("an endless request got a response")
				}
			}()
			synctest.Wait()
			d.stop()
			synctest.Wait()
			want := 503
			if delay == 0 {
				want = 0
			}
			if status, _, _ := d.ask("/readyz"); status != want {
				t.Errorf("immediately after the signal, with a delay of %s: got %d, want %d", delay, status, want)
			}
			<-d.ended
			if took := time.Since(d.stopped); took < 20*time.Second || took > 21*time.Second {
				t.Errorf("stopped after %s, want 20s", took)
			}
			<-gone
			if !errors.Is(d.err, context.DeadlineExceeded) {
				t.Errorf("the error does not report the aborted request: %v", d.err)
			}
		})
	}
}

// endless is a body that arrives fast enough and never ends.
type endless struct{ ctx context.Context }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-e.ctx.Done():
		return 0, e.ctx.Err()
	}
	return copy(p, strings.Repeat(" ", 4096)), nil
}

// TestDrainServesAcceptedConnections verifies that a connection accepted before the end is
// served although its request arrives after it, and that a silent connection delays the
// shutdown only briefly.
func TestDrainServesAcceptedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := setupDrain(t, 0)
		close(d.slow)
		silent, err := d.pipes.dial(t.Context(), "", "")
		d.must(err)
		defer silent.Close()
		time.Sleep(time.Minute)
		late, err := d.pipes.dial(t.Context(), "", "")
		d.must(err)
		defer late.Close()
		synctest.Wait()

		d.stop()
		synctest.Wait()
		if status, _, _ := d.ask("/healthz"); status != 0 {
			t.Errorf("a connection is still accepted: got %d", status)
		}
		_, err = io.WriteString(late, "GET /healthz HTTP/1.1\r\nHost: example.com\r\n\r\n")
		d.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(late), nil)
		d.must(err)
		defer resp.Body.Close()
		if resp.StatusCode != 200 || !resp.Close {
			t.Errorf("the arriving request: got %d, close: %t", resp.StatusCode, resp.Close)
		}
		<-d.ended
		if took := time.Since(d.stopped); took > 2*time.Second {
			t.Errorf("stopped after %s", took)
		}
		d.must(d.err)
	})
}
