package api

import (
	"container/list"
	"crypto/tls"
	"sync"
	"sync/atomic"
)

// idleConns are the connections that wait for their next request, starting with the one
// that has waited longest. A balancer keeps such connections for minutes, and a connection
// that it closes itself cannot lose a request; so the server keeps them longer, but not
// at the expense of a new client.
type idleConns struct {
	mu   sync.Mutex // guards list, and the element of every connection
	list list.List  // of *conn; bounded by the number of connections
}

// waiting is the state of a connection in the list.
type waiting struct {
	element *list.Element // nil: not in the list
	idle    atomic.Bool   // the connection is in the list, and missing counts
	missing int           // bytes until net/http takes the next request to be arriving; used by its reader only
}

// requestStart is the number of bytes after which net/http takes a request to be arriving
// and limits the time for its header. With fewer bytes, the connection is still idle.
const requestStart = 4

func (i *idleConns) add(c *conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.waiting.element == nil {
		c.waiting.element, c.waiting.missing = i.list.PushBack(c), requestStart
		c.waiting.idle.Store(true)
	}
}

func (i *idleConns) remove(c *conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.waiting.element != nil {
		i.list.Remove(c.waiting.element)
		c.waiting.element = nil
		c.waiting.idle.Store(false)
	}
}

// read counts n bytes that arrived on the connection, and removes it when a request is
// arriving: such a connection is not closed for another client.
func (i *idleConns) read(c *conn, n int) {
	if !c.waiting.idle.Load() {
		return
	}
	if c.waiting.missing -= n; c.waiting.missing <= 0 {
		i.remove(c)
	}
}

// oldest removes the connection that has waited longest. It returns nil if there is none.
func (i *idleConns) oldest() *conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	front := i.list.Front()
	if front == nil {
		return nil
	}
	c := i.list.Remove(front).(*conn) //nolint:forcetypeassert // add adds no other
	c.waiting.element = nil
	c.waiting.idle.Store(false)
	return c
}

// closeIdle closes the connection that has waited longest for its next request, which
// frees its place. It reports false if there is none.
func (s *Server) closeIdle() bool {
	c := s.idle.oldest()
	if c == nil {
		return false
	}
	s.metrics.idleClosed.Inc()
	raw := c.Conn
	if secured, ok := raw.(*tls.Conn); ok {
		raw = secured.NetConn() // the last message of TLS might wait for a client that does not read
	}
	_ = raw.Close() // the connection is of no use to anyone
	c.free()
	return true
}
