package sqlstore

import (
	"context"
	"math"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Hide hides up to limit jobs that ended before the time from all responses. This is the first
// step of their deletion.
func (s *Store) Hide(ctx context.Context, endedBefore time.Time, limit int) (hidden int, err error) {
	defer wrap(&err, "hide ended jobs")
	err = s.write(ctx, func(ctx context.Context, x *session) (err error) {
		hidden, err = x.exec(ctx, hideJobs, micros(endedBefore), max(limit, 0))
		x.delta.Jobs -= hidden
		return err
	})
	return hidden, err
}

// Hidden returns up to limit complete hidden jobs that ended before the time: first those whose
// originals are not deleted yet, then those whose originals were deleted before goneBefore.
func (s *Store) Hidden(ctx context.Context, endedBefore, goneBefore time.Time, limit int) (_ []*job.Job, err error) {
	defer wrap(&err, "read hidden jobs")
	var hidden []*row
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		hidden = nil
		for _, originals := range []struct {
			gone   bool
			before int64
		}{{false, math.MaxInt64}, {true, micros(goneBefore)}} {
			if originals.before == 0 {
				break // No row is that old, and finding out would scan all of them.
			}
			err := x.run(ctx, into(&hidden, readJob, selectHidden,
				originals.gone, micros(endedBefore), originals.before, max(limit-len(hidden), 0)))
			if err != nil {
				return err
			}
		}
		return x.images(ctx, hidden)
	})
	return jobs(hidden), err
}

// ForgetOriginals records that the originals of a hidden job are deleted, and when, and deletes
// the headers of its images. It returns job.ErrNotFound when no hidden job has that ID.
func (s *Store) ForgetOriginals(ctx context.Context, id string, at time.Time) (err error) {
	defer wrap(&err, "forget the originals of job %s", id)
	return s.write(ctx, func(ctx context.Context, x *session) error {
		n, err := x.exec(ctx, forgetOriginals, micros(at), id)
		if err == nil && n == 0 {
			err = job.ErrNotFound
		}
		if err == nil {
			_, err = x.exec(ctx, forgetHeaders, id)
		}
		return err
	})
}

// Delete permanently removes a hidden job. It returns job.ErrNotFound when no hidden job has
// that ID, so that a visible job is never deleted.
func (s *Store) Delete(ctx context.Context, id string) (err error) {
	defer wrap(&err, "delete job %s", id)
	return s.write(ctx, func(ctx context.Context, x *session) error {
		n, err := x.exec(ctx, deleteJob, id)
		if err == nil && n == 0 {
			return job.ErrNotFound
		}
		return err
	})
}
