package download

import (
	"context"
	"sync"
	"time"
)

// memory limits the bytes held by all downloads together. One job gets at most half of them,
// so that its large or slow bodies leave room for other jobs.
type memory struct {
	share int64 // limit for one job

	mu    sync.Mutex // guards the fields below
	free  int64
	held  map[string]int64 // bytes by job
	freed chan struct{}    // closed and replaced when bytes are released
}

func newMemory(total int64) *memory {
	return &memory{share: total / 2, free: total, held: make(map[string]int64), freed: make(chan struct{})}
}

// take reserves n bytes for the job. It waits for them up to maxWait and reports whether it
// succeeded. A waiting download holds bytes itself, so after a timeout it must release
// them to let the others proceed.
func (m *memory) take(ctx context.Context, job string, n int64, maxWait time.Duration) bool {
	if ok, _ := m.try(job, n); ok {
		return true
	}
	t := time.NewTimer(maxWait)
	defer t.Stop()
	for {
		ok, freed := m.try(job, n)
		if ok {
			return true
		}
		select {
		case <-freed:
		case <-t.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (m *memory) try(job string, n int64) (bool, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.free || m.held[job]+n > m.share {
		return false, m.freed
	}
	m.free -= n
	m.held[job] += n
	return true, nil
}

func (m *memory) give(job string, n int64) {
	if n == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n
	if m.held[job] -= n; m.held[job] == 0 {
		delete(m.held, job)
	}
	close(m.freed)
	m.freed = make(chan struct{})
}
