package download

import (
	"context"
	"sync"
	"time"
)

// memory bounds the bytes that all downloads hold together. One job gets half of
// them at most, so that its fat or slow bodies leave room for the others'.
type memory struct {
	share int64 // of one job

	mu    sync.Mutex // guards what follows
	free  int64
	held  map[string]int64 // by job
	freed chan struct{}    // closed, and made anew, when bytes come back
}

func newMemory(total int64) *memory {
	return &memory{share: total / 2, free: total, held: make(map[string]int64), freed: make(chan struct{})}
}

// take takes n bytes for the job. It waits for them up to patience and reports
// whether it got them; a download that waits holds bytes itself, so one that has
// waited too long must give them back for the others to go on.
func (m *memory) take(ctx context.Context, job string, n int64, patience time.Duration) bool {
	if ok, _ := m.try(job, n); ok {
		return true
	}
	t := time.NewTimer(patience)
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
