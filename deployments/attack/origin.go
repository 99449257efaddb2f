package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// origin is a web server that the attacked gateway may fetch from. Below /to/ it
// sends its visitors away, and below /never/ it does not answer before release.
type origin struct {
	url    string
	server *http.Server
	over   chan error

	mu   sync.Mutex // guards the rest
	away map[string]string
	held chan struct{}
}

func newOrigin(ctx context.Context, address string) (*origin, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("ORIGIN: %w", err)
	}
	o := &origin{url: "http://" + l.Addr().String(), over: make(chan error, 1), away: map[string]string{}, held: make(chan struct{})}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second}
	go func() { o.over <- o.server.Serve(l) }() // waited for by close
	return o, nil
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	to, held := o.away[r.URL.Path], o.held
	o.mu.Unlock()
	switch {
	case to != "":
		w.Header()["Location"] = []string{to}
		w.WriteHeader(http.StatusFound)
	case strings.HasPrefix(r.URL.Path, "/never/"):
		select {
		case <-held:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(photograph) // the gateway may be gone
	}
}

// redirect makes an address that leads to another.
func (o *origin) redirect(to string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	path := fmt.Sprintf("/to/%d", len(o.away))
	o.away[path] = to
	return o.url + path
}

// hold gives an address that is not answered before release is called.
func (o *origin) hold() (address string, release func()) {
	held := make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = held
	return o.url + "/never/a.jpg", sync.OnceFunc(func() { close(held) })
}

func (o *origin) close() error {
	err := o.server.Close()
	if served := <-o.over; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// trap is listeners that nobody may come to.
type trap struct {
	listeners []net.Listener
	wg        sync.WaitGroup

	mu     sync.Mutex // guards caught
	caught []string
}

// setTrap listens on each address that it can have: ports 80 and 443 may be
// somebody else's or not for everybody.
func setTrap(ctx context.Context, addresses ...string) *trap {
	t := &trap{}
	for _, address := range addresses {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		t.listeners = append(t.listeners, l)
		t.wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				t.mu.Lock()
				t.caught = append(t.caught, l.Addr().String())
				t.mu.Unlock()
				_ = conn.Close() // whoever came is caught
			}
		})
	}
	return t
}

// ports are those that the trap listens on.
func (t *trap) ports() []string {
	var ports []string
	for _, l := range t.listeners {
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err == nil {
			ports = append(ports, port)
		}
	}
	return ports
}

// spring ends the trap and says whom it caught.
func (t *trap) spring() error {
	for _, l := range t.listeners {
		_ = l.Close() // what it caught is told below
	}
	t.wg.Wait()
	if len(t.caught) > 0 {
		return fmt.Errorf("listeners of the tool's own were connected to: %v", t.caught)
	}
	return nil
}
