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

// pipes is a listener without a network, for tests with a clock of their own.
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

// drained is a server that is told to stop at the end of ctx, as the gateway is.
type drained struct {
	*rig
	pipes *pipes
	stop  func()        // as SIGTERM does
	began time.Time     // when that was
	ended chan struct{} // closed when everything has stopped
	err   error         // what it stopped with
	slow  chan struct{} // closed to let the answer of /metrics go out
}

func setupDrain(t *testing.T, delay time.Duration) *drained {
	t.Helper()
	d := &drained{pipes: newPipes(), ended: make(chan struct{}), slow: make(chan struct{})}
	ops, err := service.Listen(t.Context(), "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-d.slow:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "figures") // The client may be gone.
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	d.stop = func() { d.began = time.Now(); stop() }
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

// ask gives an answer and whether it ends its connection; 0 when nobody listens.
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

// TestDrain goes through a stop with a load balancer in front: it reads 503 for the
// whole delay, and whoever still comes meanwhile is served and told to go elsewhere
// next. What runs at the end of the delay is finished.
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
			t.Errorf("before: %d %s, the last: %t", status, body, last)
		}

		d.stop()
		for time.Since(d.began) < delay-time.Second {
			synctest.Wait()
			for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/api/v1/batch/" + id: 200} {
				if status, body, last := d.ask(path); status != want || !last {
					t.Errorf("%s during the delay: %d %s, the last: %t", path, status, body, last)
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
		if took := time.Since(d.began); took < delay || took > delay+time.Second {
			t.Errorf("WebSockets were closed after %s", took)
		}
		synctest.Wait()
		if status, _, _ := d.ask("/readyz"); status != 0 {
			t.Errorf("after the delay: %d", status)
		}
		time.Sleep(10 * time.Second)
		close(d.slow)
		if got := <-running; got.status != 200 || string(got.body) != "figures" {
			t.Errorf("the request that ran: %d %s", got.status, got.body)
		}
		<-d.ended
		if took := time.Since(d.began); took < delay+10*time.Second || took > 20*time.Second {
			t.Errorf("stopped after %s", took)
		}
		d.must(d.err)
	})
}

// TestDrainEndsInTime holds that a request which does not end is cut off 20 s after
// the signal, however long the delay is.
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
					t.Error("a request without an end was answered")
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
				t.Errorf("right after the signal, with a delay of %s: %d, want %d", delay, status, want)
			}
			<-d.ended
			if took := time.Since(d.began); took < 20*time.Second || took > 21*time.Second {
				t.Errorf("stopped after %s, want 20s", took)
			}
			<-gone
			if !errors.Is(d.err, context.DeadlineExceeded) {
				t.Errorf("the request that was cut off is not told: %v", d.err)
			}
		})
	}
}

// endless is a body that comes fast enough and never ends.
type endless struct{ ctx context.Context }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-e.ctx.Done():
		return 0, e.ctx.Err()
	}
	return copy(p, strings.Repeat(" ", 4096)), nil
}

// TestDrainAnswersWhoIsLetIn holds that a connection which was taken before the end
// is answered, though its request comes after it, and that one which says nothing
// keeps nobody waiting for long.
func TestDrainAnswersWhoIsLetIn(t *testing.T) {
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
			t.Errorf("a connection is still taken: %d", status)
		}
		_, err = io.WriteString(late, "GET /healthz HTTP/1.1\r\nHost: example.com\r\n\r\n")
		d.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(late), nil)
		d.must(err)
		defer resp.Body.Close()
		if resp.StatusCode != 200 || !resp.Close {
			t.Errorf("the request on its way: %d, the last: %t", resp.StatusCode, resp.Close)
		}
		<-d.ended
		if took := time.Since(d.began); took > 2*time.Second {
			t.Errorf("stopped after %s", took)
		}
		d.must(d.err)
	})
}
