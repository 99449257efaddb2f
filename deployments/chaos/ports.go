package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// ports are the addresses of one lane: below the range of outgoing connections, so
// that one is still free when a killed service returns to it, and apart from every
// other lane's.
type ports struct {
	first, count int

	mu    sync.Mutex // guards given
	given map[int]bool
}

// lanePorts are the ports of one lane of several.
func lanePorts(lane, lanes int) *ports {
	const first, all = 12000, 8000
	return &ports{first: first + lane*(all/lanes), count: all / lanes, given: map[int]bool{}}
}

// clear takes all ports back: the run that had them is over.
func (p *ports) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.given)
}

// free is an address that nobody was given and on which nothing listens.
func (p *ports) free() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last error
	for range 100 {
		port := p.first + rand.IntN(p.count)
		if p.given[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr) //nolint:noctx // It is closed at once.
		if err != nil {
			last = err
			continue
		}
		p.given[port] = true
		return addr, l.Close()
	}
	return "", fmt.Errorf("find a free port: %w", last)
}
