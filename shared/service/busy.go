package service

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// arrivalTime is how long the operator's server waits, when it stops, for requests
// on connections that it has accepted. Once told to shut down, net/http reads such
// a request and drops the connection without an answer.
const arrivalTime = time.Second

// busy are the connections that are new or have a request in hand.
type busy struct {
	mu   sync.Mutex // guards the rest
	open map[net.Conn]http.ConnState
	none chan struct{} // closed when there are none; nil when nobody waits
}

// note is told of every change of a connection.
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

// wait returns when there are none, or after so long, and then closes those that
// have said nothing, for which net/http would wait longer. It is called once.
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
			_ = conn.Close() // nobody has asked anything
		}
	}
}
