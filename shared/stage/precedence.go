package stage

import (
	"context"
	"sync"
	"time"
)

// Precedence lets one stage of a process finish its quarantined messages before another stage tries its own. Otherwise,
// a message that kills the process would take the quarantined messages of the other stage with it, time after
// time, until they count as deadly too. The zero value is ready for use.
type Precedence struct {
	mu       sync.Mutex    // guards the fields below
	settled  time.Time     // when the first stage has got the message that waited for the process to start
	inFlight int           // quarantined messages of the first stage
	idle     chan struct{} // closed when inFlight becomes 0
}

const (
	// settleTime is how long the other stage waits once in a process, because the broker delivers to both stages at about
	// the same time.
	settleTime = time.Second
	// yieldTime limits each further wait: a message may itself wait for something in its step.
	yieldTime = 5 * time.Second
)

// hold notes a quarantined message of the first stage. The caller calls done when it has ended.
func (p *Precedence) hold() (done func()) {
	if p == nil {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight++; p.inFlight == 1 {
		p.idle = make(chan struct{})
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.inFlight--; p.inFlight == 0 {
			close(p.idle)
		}
	}
}

// yield waits for the quarantined messages of the first stage, for a limited time. It returns false if round has ended.
func (p *Precedence) yield(round context.Context) bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	if p.settled.IsZero() {
		p.settled = time.Now().Add(settleTime)
	}
	settle := time.Until(p.settled)
	p.mu.Unlock()
	if settle > 0 && !pause(round, settle, nil) {
		return false
	}
	p.mu.Lock()
	busy, idle := p.inFlight > 0, p.idle
	p.mu.Unlock()
	return !busy || pause(round, yieldTime, idle)
}

// pause waits for d or until early is closed. It returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-ctx.Done():
		return false
	}
	return true
}
