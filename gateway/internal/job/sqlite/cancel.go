package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Cancel cancels a job with all its open images.
func (s *Store) Cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error) {
	var after *job.Job
	var changed bool
	err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
		after, changed, err = x.cancel(ctx, id, now)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("cancel job %s: %w", id, err)
	}
	return after, changed, nil
}

func (x *session) cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error) {
	r, err := readJob(x.one(ctx, selectJob, id))
	if err != nil {
		return nil, false, orNotFound(err)
	}
	if r.Images, err = x.images(ctx, r.seq); err != nil {
		return nil, false, fmt.Errorf("read images: %w", err)
	}
	before := slices.Clone(r.Images)
	if !r.Cancel(now) {
		return &r.Job, false, nil
	}
	for i := range r.Images {
		if img := &r.Images[i]; img.Revision == r.Revision {
			if err := x.updateImage(ctx, r.seq, &before[i], img); err != nil {
				return nil, false, err
			}
		}
	}
	if err := x.updateJob(ctx, r); err != nil {
		return nil, false, err
	}
	// Nothing is left to fetch, so nobody is to claim the job any more.
	if r.work > 0 {
		if err := x.updateWork(ctx, r, 0); err != nil {
			return nil, false, err
		}
	}
	asStored(&r.Job)
	return &r.Job, true, nil
}
