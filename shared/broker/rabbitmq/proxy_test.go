package rabbitmq_test

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// proxy is a TCP proxy between the Broker and the server that simulates network
// failures.
type proxy struct {
	target  string
	address string
	running sync.WaitGroup

	// mu guards the fields below.
	mu        sync.Mutex
	listener  net.Listener
	listening bool
	conns     map[net.Conn]struct{}
	flowing   chan struct{} // closed while bytes flow
}

// startProxy starts a proxy in front of the server and returns its URL.
func startProxy(t *testing.T) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: u.Host, address: "127.0.0.1:0", conns: map[net.Conn]struct{}{}, flowing: make(chan struct{})}
	close(p.flowing)
	p.up(t)
	t.Cleanup(func() {
		p.resume()
		p.down()
		p.running.Wait()
	})
	u.Host = p.address
	return p, u.String()
}

// openThrough opens a Broker whose connections pass through a proxy.
func openThrough(t *testing.T, config rabbitmq.Config) (*proxy, *rabbitmq.Broker) {
	t.Helper()
	p, through := startProxy(t)
	config.URLs = []string{through}
	return p, openWith(t, config)
}

// up listens, on the same port each time.
func (p *proxy) up(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", p.address)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p.mu.Lock()
	p.listener, p.listening, p.address = listener, true, listener.Addr().String()
	p.mu.Unlock()
	p.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.pass(conn) })
		}
	})
}

// open listens, unless the proxy already does.
func (p *proxy) open(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	listening := p.listening
	p.mu.Unlock()
	if !listening {
		p.up(t)
	}
}

// down closes the port and all connections.
func (p *proxy) down() {
	p.mu.Lock()
	_ = p.listener.Close()
	p.listening = false
	p.mu.Unlock()
	p.cut()
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// stall forwards no more data, while all connections stay open.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target) //nolint:noctx // ended by closing it
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var copying sync.WaitGroup
	copying.Go(func() { p.copy(server, client) })
	copying.Go(func() { p.copy(client, server) })
	copying.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flowing := p.flowing
		p.mu.Unlock()
		<-flowing
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// isRefused reports whether err is a refused connection.
func isRefused(err error) bool { return err != nil && strings.Contains(err.Error(), "refused") }
