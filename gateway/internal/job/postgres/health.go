package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// health remembers whether the database was away.
type health struct {
	mu    sync.Mutex // guards the fields below
	err   error      // of the last call that found it away; nil after a write that worked
	tried time.Time  // the last write that was made only to see
}

// failed notes and returns the error of a call that found the database away. The
// log has it once per outage.
func (h *health) failed(ctx context.Context, log *slog.Logger, err error) error {
	h.mu.Lock()
	first := h.err == nil
	h.err = err
	h.mu.Unlock()
	if first {
		log.ErrorContext(ctx, "job store is away", slog.Any("error", err))
	}
	return err
}

// worked notes a commit that has written.
func (h *health) worked(ctx context.Context, log *slog.Logger) {
	h.mu.Lock()
	healed := h.err != nil
	h.err = nil
	h.mu.Unlock()
	if healed {
		log.InfoContext(ctx, "job store is back")
	}
}

// state returns whether it is time to try another write, and the error of the
// last failure.
func (h *health) state(now time.Time) (try bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		return false, nil
	}
	if since := now.Sub(h.tried); since >= 0 && since < time.Second {
		return false, h.err
	}
	h.tried = now
	return true, h.err
}
