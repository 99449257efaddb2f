package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// arrivalTime is how long the server waits, when it stops, for requests on
// connections that it has accepted. A client that has one to send does so at once.
const arrivalTime = time.Second

// arrivals counts the connections whose request is on its way: those that are new,
// and those whose request net/http has in hand. Once told to shut down, it reads
// such a request and drops the connection without an answer.
type arrivals struct {
	mu    sync.Mutex // guards count and none
	count int
	none  chan struct{} // closed at the next time that there are none; nil when nobody waits
}

func (a *arrivals) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count += n
	if a.count == 0 && a.none != nil {
		close(a.none)
		a.none = nil
	}
}

// wait returns when there are none, or at the end of ctx.
func (a *arrivals) wait(ctx context.Context) {
	a.mu.Lock()
	if a.count == 0 {
		a.mu.Unlock()
		return
	}
	if a.none == nil {
		a.none = make(chan struct{})
	}
	none := a.none
	a.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// unlisten takes no more connections, and gives clients whose connection was still
// taken the time to be answered. It returns what else the listener failed with.
func (s *Server) unlisten(drain context.Context, server *http.Server, l net.Listener, served <-chan error) error {
	closed := l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return err
	}
	server.SetKeepAlivesEnabled(false) // It closes what is idle.
	arriving, cancel := context.WithTimeout(drain, arrivalTime)
	defer cancel()
	s.arrivals.wait(arriving)
	return closed
}
