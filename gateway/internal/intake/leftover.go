package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// leftover is a reservation of a batch that became no job: a row under our lease
// and perhaps some originals. The row goes last, so that whoever comes after a
// crash still finds the objects.
type leftover struct {
	id       string
	lease    job.Lease
	keys     []string // of its originals
	listed   bool     // its keys are not known and are looked for
	doubtful bool     // it may have become a job after all
}

// maxLeftovers bounds those that wait. Beyond it one is left to the next start
// of a gateway, which finds its lease ended.
const maxLeftovers = 10_000

// deletions is how many objects are deleted side by side.
const deletions = 8

// leftovers could not be cleared yet. They have to be remembered: our lease on
// them is renewed with all the others.
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

// clearOrKeep clears a leftover now, or keeps it for later.
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

// clearLeftovers clears what was kept, up to the first that still cannot be
// cleared: what ails that one ails the others, most likely. It goes to the end.
func (in *Intake) clearLeftovers(ctx context.Context) {
	list := in.leftovers.take()
	for i, lo := range list {
		if ctx.Err() != nil {
			return
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
	if lo.doubtful {
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
	return nil
}

// becameJob finds out whether a Create whose outcome was open was done. Writes
// are done in order, so a write of ours that has been done since comes after it.
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

// deleteBelow deletes whatever was stored for a trace id. A trace id is made of a
// random job id, so nobody else's object is below it.
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

// deleteAll deletes objects; those that are gone are no error.
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
