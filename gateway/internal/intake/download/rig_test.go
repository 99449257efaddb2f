package download

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside is the network from which tests may download; the rest of loopback stands for
// forbidden addresses.
const inside = "127.0.0.1/32"

func client(t *testing.T, c Config) *Client {
	t.Helper()
	if c.AllowNetworks == nil {
		c.AllowNetworks = []netip.Prefix{netip.MustParsePrefix(inside)}
	}
	if c.pause == nil {
		c.pause = func(int) time.Duration { return time.Millisecond }
	}
	return New(c)
}

// serve starts an origin on an allowed address.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// get downloads and returns a copy of the bytes.
func get(t *testing.T, c *Client, url string) ([]byte, error) {
	t.Helper()
	img, err := c.Get(t.Context(), "job", url, place(url), nil)
	if err != nil {
		checkMemory(t, c)
		return nil, err
	}
	data := append([]byte{}, img.Data...)
	img.Release()
	checkMemory(t, c)
	return data, nil
}

// place returns the key of the URL's host, of which a caller of Get holds a place.
func place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return pace.Key(u)
}

// checkMemory fails the test when a finished download still holds memory.
func checkMemory(t *testing.T, c *Client) {
	t.Helper()
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	if c.memory.free != c.config.Memory || len(c.memory.held) != 0 {
		t.Errorf("memory not returned: %d of %d free, held %v, want all free", c.memory.free, c.config.Memory, c.memory.held)
	}
}

// waitUntilHeld waits until the job holds exactly that many bytes.
func waitUntilHeld(c *Client, job string, bytes int64) {
	for {
		c.memory.mu.Lock()
		held, changed := c.memory.held[job], c.memory.freed
		c.memory.mu.Unlock()
		if held == bytes {
			return
		}
		<-changed
	}
}

// wantFailure checks the error that the client would read.
func wantFailure(t *testing.T, err error, code, text string) {
	t.Helper()
	f, ok := errors.AsType[*pipeline.Failure](err)
	if !ok || f.Code != code || f.Text != text {
		t.Errorf("got error %v, want a failure %s: %q", err, code, text)
	}
}

const textNoHeader = "Failed to download image: connection failed"

// trap listens on a forbidden address and counts connections.
type trap struct {
	net.Listener
	mu   sync.Mutex // guards seen
	seen int
	done chan struct{}
}

func setTrap(t *testing.T, address string) *trap {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Skipf("no listener on %s here: %v", address, err)
	}
	tr := &trap{Listener: l, done: make(chan struct{})}
	go func() {
		defer close(tr.done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tr.mu.Lock()
			tr.seen++
			tr.mu.Unlock()
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-tr.done
	})
	return tr
}

// wantUntouched makes a connection of its own: when the trap has seen that one, it has seen
// all earlier ones.
func (tr *trap) wantUntouched(t *testing.T) {
	t.Helper()
	c, err := net.Dial("tcp", tr.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("trap does not respond: %v", err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.seen != 1 {
		t.Errorf("%d connections reached %s, want none", tr.seen-1, tr.Addr())
	}
}

func (tr *trap) port() string {
	_, port, _ := net.SplitHostPort(tr.Addr().String())
	return port
}

// resolve returns a resolver that returns one address after another; the last one stays.
func resolve(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	var mu sync.Mutex
	var asked int
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	next := func() netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		a := netip.MustParseAddr(answers[min(asked, len(answers)-1)])
		asked++
		return a
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		running.Go(func() {
			defer there.Close()
			answerDNS(there, next)
		})
		return here, nil
	}}
}

// answerDNS responds to DNS queries over TCP.
func answerDNS(c net.Conn, next func() netip.Addr) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		if q.Type == dnsmessage.TypeA {
			if a := next(); a.Is4() {
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: a.As4()}}}
			}
		}
		reply, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// seen records the addresses that the guard allows.
type seen struct {
	mu   sync.Mutex // guards list
	list []string
}

func (s *seen) connect(_, address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, address)
	return nil
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.list, " ")
}

// recordLookups returns a resolver that resolves every name to 127.0.0.1, and a function that
// returns the names.
func recordLookups(t *testing.T) (*net.Resolver, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	r := resolve(t, "127.0.0.1")
	dial := r.Dial
	r.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &recordedConn{Conn: c, wrote: func(query []byte) {
			var p dnsmessage.Parser
			if _, err := p.Start(query[2:]); err != nil { // over TCP, after the length
				return
			}
			questions, _ := p.AllQuestions()
			mu.Lock()
			defer mu.Unlock()
			for _, q := range questions {
				names = append(names, q.Name.String())
			}
		}}, err
	}
	return r, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return names
	}
}

type recordedConn struct {
	net.Conn
	wrote func([]byte)
}

func (c *recordedConn) Write(b []byte) (int, error) {
	c.wrote(b)
	return c.Conn.Write(b)
}
