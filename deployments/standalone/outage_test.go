package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is a connection to a server that can be cut, or can accept all bytes without
// forwarding them.
type wire struct {
	addr, target string

	mu       sync.Mutex // guards the fields below
	listener net.Listener
	conns    map[net.Conn]bool
	flowing  chan struct{} // closed while bytes flow
	running  sync.WaitGroup
}

// startWire starts a wire to the address; it ends with the test.
func startWire(t *testing.T, target string) *wire {
	t.Helper()
	w := &wire{addr: freeAddr(t), target: target, conns: map[net.Conn]bool{}, flowing: make(chan struct{})}
	close(w.flowing)
	w.open(t)
	t.Cleanup(func() {
		w.cut()
		w.resume()
		w.running.Wait()
	})
	return w
}

// open starts accepting connections.
func (w *wire) open(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.listener = l
	w.mu.Unlock()
	w.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", w.target)
			if err != nil {
				_ = client.Close()
				continue
			}
			w.mu.Lock()
			w.conns[client], w.conns[server] = true, true
			w.mu.Unlock()
			w.running.Go(func() { w.pass(server, client) })
			w.running.Go(func() { w.pass(client, server) })
		}
	})
}

// pass forwards bytes from one end to the other until either is closed.
func (w *wire) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.mu.Lock()
		flowing := w.flowing
		w.mu.Unlock()
		<-flowing
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections and refuses new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for conn := range w.conns {
		_ = conn.Close()
	}
	clear(w.conns)
}

// stall stops forwarding bytes.
func (w *wire) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flowing = make(chan struct{})
}

func (w *wire) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.flowing:
	default:
		close(w.flowing)
	}
}

// TestBrokerUnavailable verifies the API without its broker, when connections are refused
// or get no response: batches are accepted up to the limit and then rejected as temporarily
// unavailable, the gateway is alive and reports the missing broker, and existing jobs can be
// read. Within ten seconds after the broker is back, all services are ready, and every image
// completes.
func TestBrokerUnavailable(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]struct {
		begin func(*wire)
		end   func(*testing.T, *wire)
		last  time.Duration
	}{
		"refused": {(*wire).cut, func(t *testing.T, w *wire) { w.open(t) }, time.Minute},
		"silent":  {(*wire).stall, func(_ *testing.T, w *wire) { w.resume() }, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through, err := url.Parse(lentVhost(t))
			if err != nil {
				t.Fatal(err)
			}
			w := startWire(t, through.Host)
			through.Host = w.addr
			env := append(serverEnv(t, through.String()), "MAX_BATCH_IMAGES=10", "MAX_OPEN_IMAGES=20")
			gateway := launch(t, "gateway", env...)
			s := &system{gateway, []*process{gateway, launch(t, "analyzer", env...), launch(t, "processor", env...)}}
			var batch []map[string]string
			for range 5 {
				batch = append(batch, inline("a.jpg", goImage(t, "video-001.jpeg")))
			}
			body, err := json.Marshal(map[string]any{"images": batch})
			if err != nil {
				t.Fatal(err)
			}
			before := s.submit(t, batch...)
			s.ended(t, before)

			trouble.begin(w)
			started := time.Now()
			var ids []string
			again := time.NewTicker(100 * time.Millisecond)
			defer again.Stop()
			for len(ids) < 10 {
				var text []byte
				sent := time.Now()
				status, header := s.call(t, http.MethodPost, "/api/v1/batch", bytes.NewReader(body), &text)
				if took := time.Since(sent); took > 10*time.Second {
					t.Errorf("POST took %s", took)
				}
				if status == http.StatusCreated {
					ids = append(ids, decodeCreated(t, status, text).JobID)
					continue
				}
				if seconds, err := strconv.Atoi(header.Get("Retry-After")); status != http.StatusServiceUnavailable || err != nil || seconds < 1 ||
					!bytes.Contains(text, []byte("Too many images in progress, try again later")) {
					t.Errorf("above the limit: %d %s, Retry-After %q", status, text, header.Get("Retry-After"))
				}
				// The count is up to a second old and may still be the one from before the outage.
				if len(ids) >= 4 || time.Since(started) > 10*time.Second {
					break
				}
				<-again.C
			}
			if len(ids) != 4 {
				t.Errorf("%d batches of 5 images were accepted, want 4: 20 images may be open", len(ids))
			}
			await(t, func() (bool, string) {
				var ready struct{ Error string }
				status, _ := s.call(t, http.MethodGet, "/readyz", nil, &ready)
				return status == http.StatusServiceUnavailable && strings.Contains(ready.Error, "broker: "), fmt.Sprint(status, ready.Error)
			})
			for outage := time.NewTicker(time.Second); time.Since(started) < trouble.last; <-outage.C {
				for _, p := range s.parts {
					alive(t, p)
				}
				var now jobResponse
				if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+ids[0], nil, &now); status != http.StatusOK || now.Failed != 0 {
					t.Errorf("GET during the outage: %d %+v", status, now)
				}
			}
			checkFrames(t, watch(t, s, before), s.ended(t, before))

			trouble.end(t, w)
			back := time.Now()
			for _, p := range s.parts {
				p.awaitReady()
			}
			if took := time.Since(back); took > 10*time.Second {
				t.Errorf("ready %s after the broker was back", took)
			}
			for _, id := range ids {
				if got := s.ended(t, id); got.Completed != 5 {
					t.Errorf("job of the outage: %+v", got)
				}
			}
			if got := s.ended(t, s.submit(t, batch...)); got.Completed != 5 {
				t.Errorf("job after the outage: %+v", got)
			}
		})
	}
}

// alive verifies that the process responds to /healthz within 5 s.
func alive(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url("/healthz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s is not alive: %v", p.name, err)
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s is not alive: %d %s %v", p.name, resp.StatusCode, text, err)
	}
}
