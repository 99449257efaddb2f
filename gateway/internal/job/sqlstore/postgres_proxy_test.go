package sqlstore

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// proxy is between a store and its server and can suppress the response of a commit.
type proxy struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex    // guards the fields below
	armed bool          // cut the next connection that commits
	hold  chan struct{} // if not nil, the commit reaches the server once it is closed
	conns []net.Conn

	over chan struct{} // gets a token when the server has finished a commit that was cut off
}

// through returns a proxy and the URL for connections through it.
func through(t *testing.T, address string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	ok(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	p := &proxy{listener: l, server: u.Host, over: make(chan struct{}, 9)}
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		client.Close()
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	cut := make(chan struct{}) // closed when the next response must be lost
	var answers sync.WaitGroup
	answers.Go(func() {
		defer client.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-cut:
				return
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	defer answers.Wait()
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte("commit")) && p.take() {
			close(cut)
			p.mu.Lock()
			hold := p.hold
			p.mu.Unlock()
			if hold != nil {
				client.Close()
				<-hold
			}
			_, _ = server.Write(buf[:n])
			// The server has finished when it responds or closes the connection.
			answers.Wait()
			p.over <- struct{}{}
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) arm(hold chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.hold = true, hold
}

func (p *proxy) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.armed
	p.armed = false
	return was
}

// TestLostCommitResponse suppresses the response of successful commits: the caller gets
// ErrUnavailable, and finds the committed change later.
func TestLostCommitResponse(t *testing.T) {
	t.Parallel()
	p, address := through(t, schema(t))
	s := openURL(t, address)
	at := t0.Add(time.Hour)

	p.arm(nil)
	if err := s.Create(t.Context(), fetchJob("job", 2, job.Lease{Owner: "gone", Until: t0})); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("create: %v", err)
	}
	ok(t, s.Renew(t.Context(), "me", at)) // a later write settles the doubt
	j, err := s.Get(t.Context(), "job")
	ok(t, err)
	if len(j.Images) != 2 {
		t.Errorf("job %+v", j)
	}

	p.arm(nil)
	if _, err := s.Claim(t.Context(), "me", at, at.Add(time.Hour), 9); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("claim: %v", err)
	}
	claimed, err := s.Claim(t.Context(), "me", at, at.Add(time.Hour), 9)
	ok(t, err)
	if len(claimed) != 1 || claimed[0].Lease.Owner != "me" || claimed[0].Lease.Epoch != 1 || len(claimed[0].Images) != 2 {
		t.Fatalf("claimed %+v", claimed)
	}
	claimed, err = s.Claim(t.Context(), "me", at, at.Add(time.Hour), 9)
	ok(t, err)
	if len(claimed) != 0 {
		t.Errorf("claimed again %+v", claimed)
	}

	ref := job.Ref{JobID: "job"}
	p.arm(nil)
	if _, _, err := s.Change(t.Context(), ref, settled(ref), at); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("change: %v", err)
	}
	if _, changed, err := s.Change(t.Context(), ref, settled(ref), at); err != nil || changed {
		t.Errorf("the same change again: %t, %v", changed, err)
	}
	counts, err := s.Count(t.Context())
	ok(t, err)
	if counts.OpenImages != 1 {
		t.Errorf("counts %+v", counts)
	}
}

// TestLateCommit verifies that a commit that is in progress when the connection is lost is applied
// before the next write or never.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	p, address := through(t, schema(t))
	s := openURL(t, address)
	late := make(chan struct{})
	p.arm(late)
	if err := s.Create(t.Context(), newJob("job", 2)); !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("create: %v", err)
	}
	ok(t, s.Renew(t.Context(), "me", t0))
	_, before := s.Get(t.Context(), "job")
	close(late)
	<-p.over
	if !errors.Is(before, job.ErrNotFound) {
		t.Fatalf("get: %v", before)
	}
	// The server rejects the late commit: its session has ended by then, and the transaction is
	// rolled back.
	if _, err := s.Get(t.Context(), "job"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("the job appeared: %v", err)
	}
	ok(t, s.Create(t.Context(), newJob("job", 2)))
}

// TestDeadIdleConnections verifies that connections that broke while they were idle cause no
// errors.
func TestDeadIdleConnections(t *testing.T) {
	t.Parallel()
	p, address := through(t, schema(t))
	s := openURL(t, address)
	ok(t, s.Create(t.Context(), newJob("job", 8)))
	for round := range 4 {
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.conns = nil
		p.mu.Unlock()
		ref := job.Ref{JobID: "job", Index: round}
		if _, changed, err := s.Change(t.Context(), ref, settled(ref), t0); err != nil || !changed {
			t.Errorf("change: %t, %v", changed, err)
		}
		_, err := s.Get(t.Context(), "job")
		ok(t, err)
	}
}
