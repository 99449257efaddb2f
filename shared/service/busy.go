package service

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// arrivalTime is how long the admin server waits during a shutdown for requests on
// connections that it has already accepted. net/http would read such a request after
// the start of a shutdown and drop the connection without a response.
const arrivalTime = time.Second

// busy tracks the connections that are new or have a request in flight.
type busy struct {
	mu   sync.Mutex // guards the rest
	open map[net.Conn]http.ConnState
	none chan struct{} // closed when open becomes empty; nil unless wait is blocked
}

// note records a connection's change of state.
func (b *busy) note(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		if b.open == nil {
			b.open = map[net.Conn]http.ConnState{}
		}
		b.open[conn] = state
	default:
		delete(b.open, conn)
		if len(b.open) == 0 && b.none != nil {
			close(b.none)
			b.none = nil
		}
	}
}

// wait returns when no connection is busy, at the latest after most. It then closes
// the connections that have sent no data, for which net/http would wait longer. It is
// called once.
func (b *busy) wait(most time.Duration) {
	b.mu.Lock()
	if len(b.open) == 0 {
		b.mu.Unlock()
		return
	}
	none := make(chan struct{})
	b.none = none
	b.mu.Unlock()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-none:
	case <-late.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn, state := range b.open {
		if state == http.StateNew {
			_ = conn.Close() // no request was sent
		}
	}
}
