package sqlstore

import (
	"context"
	"sync"
)

// lanes let one change of a job at a time reach the database. Otherwise changes of one job
// would wait for each other there, each occupying a connection. Jobs are independent of each
// other. There are as many lanes as jobs that are being changed.
type lanes struct {
	mu    sync.Mutex // guards lanes
	lanes map[string]*lane
}

type lane struct {
	users int           // number of callers inside or waiting; guarded by the mutex of lanes
	turn  chan struct{} // holds a token while a caller is inside
}

// enter waits for its turn. The caller must call leave.
func (l *lanes) enter(ctx context.Context, id string) (leave func(), err error) {
	l.mu.Lock()
	own := l.lanes[id]
	if own == nil {
		own = &lane{turn: make(chan struct{}, 1)}
		l.lanes[id] = own
	}
	own.users++
	l.mu.Unlock()

	quit := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(l.lanes, id)
		}
	}
	select {
	case own.turn <- struct{}{}:
		return func() { <-own.turn; quit() }, nil
	case <-ctx.Done():
		quit()
		return nil, ctx.Err()
	}
}
