package sqlite

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// health remembers how the last write went.
type health struct {
	mu    sync.Mutex // guards the fields below
	err   error      // of the last write, when the database was unavailable
	tried time.Time  // the last write that was made only to see
}

// failed notes and returns the error of a transaction, which is unavailable when
// the database is to blame. The log has it once per outage.
func (h *health) failed(ctx context.Context, log *slog.Logger, err error) error {
	if !outage(err) {
		return err
	}
	err = unavailable(err)
	h.mu.Lock()
	first := h.err == nil
	h.err = err
	h.mu.Unlock()
	if first {
		log.ErrorContext(ctx, "job store cannot write", slog.Any("error", err))
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
		log.InfoContext(ctx, "job store can write again")
	}
}

// state returns whether it is time to try another write, and the error of the
// last one.
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

// figures are the counts over all jobs. The store is the only writer of its
// file, so they are counted once, at Open, and carried along with every commit.
type figures struct {
	mu     sync.Mutex // guards counts
	counts job.Counts
}

func (f *figures) add(delta job.Counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Jobs += delta.Jobs
	f.counts.OpenImages += delta.OpenImages
	f.counts.Unsent += delta.Unsent
}

func (f *figures) now() job.Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}
