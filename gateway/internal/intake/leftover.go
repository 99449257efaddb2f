package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// leftover is the reservation of a batch that did not become a job: a row under our lease and
// possibly some originals. The row is deleted last, so that recovery after a crash can still
// find the objects.
type leftover struct {
	id        string
	lease     job.Lease
	keys      []string // keys of its originals
	listed    bool     // the keys are unknown and must be listed
	uncertain bool     // it may have become a job after all

	// An original whose store failed may still be stored after it was deleted, and a store that has just lost nodes may
	// deny that it exists. Then the originals are deleted twice, with a pause.
	doubtful bool
	due      time.Time // end of the pause
}

// settleTime is the pause between two deletions of doubtful originals.
const settleTime = 30 * time.Second

// maxLeftovers limits the leftovers kept in memory. Further ones are left to the next start of
// a gateway, which finds their leases expired.
const maxLeftovers = 10_000

// deletions is the number of objects deleted concurrently.
const deletions = 8

// leftovers are reservations that could not be deleted yet. They must be remembered, because
// our lease on them is renewed together with all others.
type leftovers struct {
	mu   sync.Mutex // guards list
	list []leftover
}

func (l *leftovers) take() []leftover {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

func (l *leftovers) put(lo leftover) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) >= maxLeftovers {
		return false
	}
	l.list = append(l.list, lo)
	return true
}

func (l *leftovers) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list) == 0
}

// clearOrKeep deletes a leftover now, or keeps it for later.
func (in *Intake) clearOrKeep(ctx context.Context, lo leftover) {
	if err := in.clear(ctx, lo); err != nil {
		in.deps.Log.WarnContext(ctx, "abandoned batch not cleared yet", "job_id", lo.id, "error", err)
		in.keep(lo)
	}
}

func (in *Intake) keep(lo leftover) {
	if !in.leftovers.put(lo) {
		in.metrics.dropped.Inc()
	}
}

// clearLeftovers deletes the kept leftovers up to the first that still fails: the others would most
// likely fail for the same reason. The failed one moves to the end.
func (in *Intake) clearLeftovers(ctx context.Context, now time.Time) {
	list := in.leftovers.take()
	for i, lo := range list {
		if ctx.Err() != nil {
			return
		}
		if now.Before(lo.due) {
			in.keep(lo)
			continue
		}
		if err := in.clear(ctx, lo); err != nil {
			in.deps.Log.WarnContext(ctx, "abandoned batches not cleared yet", "batches", len(list)-i, "job_id", lo.id, "error", err)
			for _, later := range append(list[i+1:], lo) {
				in.keep(later)
			}
			return
		}
	}
}

func (in *Intake) clear(ctx context.Context, lo leftover) error {
	if lo.uncertain {
		became, err := in.becameJob(ctx, lo)
		if became || err != nil {
			return err
		}
	}
	if err := in.deleteOriginals(ctx, lo); err != nil {
		return err
	}
	if err := in.deps.Jobs.Release(ctx, lo.id, lo.lease); err != nil && !lost(err) {
		return fmt.Errorf("release job %s: %w", lo.id, err)
	}
	if !lo.doubtful {
		return nil
	}
	// Until the second deletion, a reservation without a key: the client can send its request again at once.
	if err := in.deps.Jobs.Reserve(ctx, lo.id, lo.lease, job.Key{}); err != nil {
		return fmt.Errorf("reserve job %s: %w", lo.id, err)
	}
	lo.doubtful, lo.uncertain, lo.due = false, false, in.deps.Now().Add(settleTime)
	in.keep(lo)
	return nil
}

// becameJob reports whether a Create with an unknown outcome was applied. Writes are applied
// in order, so once our later write has succeeded, the Create is either visible or lost.
func (in *Intake) becameJob(ctx context.Context, lo leftover) (bool, error) {
	if err := in.deps.Jobs.Renew(ctx, in.deps.Owner, in.deps.Now().Add(job.LeaseTime)); err != nil {
		return false, fmt.Errorf("renew leases: %w", err)
	}
	j, err := in.deps.Jobs.Get(ctx, lo.id)
	switch {
	case err == nil:
		in.committed(ctx, j)
		return true, nil
	case errors.Is(err, job.ErrNotFound):
		return false, nil
	default:
		return false, fmt.Errorf("get job %s: %w", lo.id, err)
	}
}

func (in *Intake) deleteOriginals(ctx context.Context, lo leftover) error {
	if !lo.listed {
		return deleteAll(ctx, in.deps.Originals, lo.keys)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletions)
	for index := range max(in.config.MaxBatchImages, 100) {
		g.Go(func() error {
			return deleteBelow(ctx, in.deps.Originals, pipeline.NewTraceID(lo.id, index))
		})
	}
	return g.Wait()
}

// deleteBelow deletes every object stored for a trace ID. A trace ID contains a random job
// ID, so no other job has objects with this prefix.
func deleteBelow(ctx context.Context, s objectstore.Store, id pipeline.TraceID) error {
	var keys []string
	for info, err := range s.List(ctx, string(id)+"/") {
		if err != nil {
			return fmt.Errorf("list originals of %s: %w", id, err)
		}
		keys = append(keys, info.Key)
	}
	return deleteAll(ctx, s, keys)
}

// deleteAll deletes objects. A missing object is not an error.
func deleteAll(ctx context.Context, s objectstore.Store, keys []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletions)
	for _, key := range keys {
		g.Go(func() error {
			if err := s.Delete(ctx, key); err != nil {
				return fmt.Errorf("delete %s: %w", key, err)
			}
			return nil
		})
	}
	return g.Wait()
}
