package sqlstore

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// health records whether the database is unavailable.
type health struct {
	mu    sync.Mutex // guards the fields below
	err   error      // error of the last call that found it unavailable; nil after a write
	tried time.Time  // when Ready has last tried to write
}

// failed records and returns the error of a call that found the database unavailable. It logs
// once per outage.
func (h *health) failed(ctx context.Context, log *slog.Logger, err error) error {
	h.mu.Lock()
	first := h.err == nil
	h.err = err
	h.mu.Unlock()
	if first {
		log.ErrorContext(ctx, "job store unavailable", slog.Any("error", err))
	}
	return err
}

// worked records a successful write.
func (h *health) worked(ctx context.Context, log *slog.Logger) {
	h.mu.Lock()
	healed := h.err != nil
	h.err = nil
	h.mu.Unlock()
	if healed {
		log.InfoContext(ctx, "job store available again")
	}
}

// state returns the error of the last failure, and whether it is time to try a write.
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
