package api

import (
	"net"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
)

// maxTurnedAway is how many connections past the limit are told so at once.
const maxTurnedAway = 256

// connections bounds how many there are. Those past the limit are still taken, a
// few at a time, and told with a 503 to come back later: left in the backlog they
// would wait for whoever is slowest, and a health probe with them. Past these few
// they are closed without a word, which costs the least.
type connections struct {
	most, spare int

	mu     sync.Mutex // guards the rest
	served int
	turned int
}

// place is what a connection takes.
type place int

const (
	noPlace    place = iota
	servedHere       // it is served
	turnedAway       // it is told that there is no room, or how the gateway is
)

func (c *connections) take() place {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.served < c.most:
		c.served++
		return servedHere
	case c.turned < c.spare:
		c.turned++
		return turnedAway
	default:
		return noPlace
	}
}

func (c *connections) give(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p {
	case servedHere:
		c.served--
	case turnedAway:
		c.turned--
	}
}

func (c *connections) count() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.served)
}

// documented is a listener whose connections are counted, and answer in the
// documented shape also what net/http answers by itself, before any handler: a
// malformed request, a header that is too large, an expectation that can't be met.
// There is no hook for these; they are told by their first bytes, and by no handler
// having begun.
type documented struct {
	net.Listener
	arrivals    *arrivals
	connections *connections
	full        func(place) // is told of every connection that finds no room
}

// Accept implements net.Listener.
func (d documented) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p := d.connections.take()
		if p != servedHere {
			d.full(p)
		}
		if p != noPlace {
			return &documentedConn{Conn: conn, arrivals: d.arrivals, place: p, leave: sync.OnceFunc(func() { d.connections.give(p) })}, nil
		}
		_ = conn.Close() // it has said nothing yet
	}
}

// Close implements net.Conn. A WebSocket ends here too.
func (c *documentedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// checkRoom refuses a request whose connection is past the limit. Whoever asks how
// the gateway is gets to know it all the same: it is not dead when it is full.
func checkRoom(c echo.Context) error {
	conn, ok := c.Request().Context().Value(connKey{}).(*documentedConn)
	if !ok || conn.place != turnedAway {
		return nil
	}
	if operators(c) {
		c.Response().Header().Set("Connection", "close")
		return nil
	}
	return errCrowded
}

// early lets an answer come before the end of the body; without this net/http would
// read the rest before it sends it. An error means that it can't, as in tests.
func early(c echo.Context) {
	_ = http.NewResponseController(c.Response().Writer).EnableFullDuplex()
}
