package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Cancel cancels a job with all its open images.
func (s *Store) Cancel(ctx context.Context, id string, at time.Time) (*job.Job, bool, error) {
	var after *job.Job
	var changed bool
	leave, err := s.lanes.enter(ctx, id)
	if err == nil {
		defer leave()
		err = s.write(ctx, func(ctx context.Context, x *session) (err error) {
			after, changed, err = s.cancel(ctx, x, id, at)
			return err
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("cancel job %s: %w", id, err)
	}
	return after, changed, nil
}

func (s *Store) cancel(ctx context.Context, x *session, id string, at time.Time) (*job.Job, bool, error) {
	r, err := readJob(x.one(ctx, lockJob, text(id)))
	if err != nil {
		return nil, false, orNotFound(err)
	}
	rows, err := x.all(ctx, lockImages, r.seq)
	r.Images, err = collect(rows, err, func(scan scanner) (job.Image, error) { return readImage(scan) })
	if err != nil {
		return nil, false, fmt.Errorf("read images: %w", err)
	}
	before := slices.Clone(r.Images)
	if !r.Cancel(at) {
		return &r.Job, false, nil
	}
	// Nothing is left to fetch, so nobody is to claim the job any more.
	r.work = 0
	var ended []*job.Image
	for i := range r.Images {
		if img := &r.Images[i]; img.Revision == r.Revision {
			x.count(&before[i], -1)
			x.count(img, 1)
			ended = append(ended, img)
		}
	}
	if err := x.update(ctx, r, s.relay, ended...); err != nil {
		return nil, false, err
	}
	asStored(&r.Job)
	return &r.Job, true, nil
}
