package sqlstore

import (
	"context"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Get returns the job with all its images in order.
func (s *Store) Get(ctx context.Context, id string) (_ *job.Job, err error) {
	defer wrap(&err, "get job %s", id)
	return s.find(ctx, func(r *row) *statement { return into(&r.Images, readImage, selectImages, r.seq) }, selectJob, id)
}

// Changes returns the job with the images whose revision is greater than after, ordered by
// revision and then index, from one consistent read.
func (s *Store) Changes(ctx context.Context, id string, after int64) (_ *job.Job, err error) {
	defer wrap(&err, "read changes of job %s", id)
	return s.find(ctx, func(r *row) *statement { return into(&r.Images, readImage, selectChanges, r.seq, after) }, selectJob, id)
}

// Keyed returns the job that has the key, without its images. A job that is still being
// received has the status Receiving. It returns job.ErrNotFound when no job has the key. The job is durable,
// since the response to the client says that it was accepted.
func (s *Store) Keyed(ctx context.Context, k job.Key) (_ *job.Job, err error) {
	defer wrap(&err, "find the job of a key")
	j, err := s.find(ctx, nil, selectKeyed, k.Scope, k.Name)
	if err == nil {
		err = s.domainError(ctx, s.engine.confirm(ctx))
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

// find reads a job and, if images is not nil, the images that its query returns.
func (s *Store) find(ctx context.Context, images func(*row) *statement, query string, args ...any) (*job.Job, error) {
	var r *row
	err := s.read(ctx, func(ctx context.Context, x *session) (err error) {
		if r, err = readJob(x.one(ctx, query, args...)); err != nil || images == nil {
			return err
		}
		return x.run(ctx, images(r))
	})
	if err != nil {
		return nil, err
	}
	return &r.Job, nil
}

// Owned returns the number of visible jobs of the owner. Jobs created without API keys have no owner.
func (s *Store) Owned(ctx context.Context, owner string) (int, error) {
	return s.sum(ctx, countOwned, owner)
}

// OpenImages returns the number of the owner's images that have not ended.
func (s *Store) OpenImages(ctx context.Context, owner string) (int, error) {
	return s.sum(ctx, countOwnedOpen, owner)
}

func (s *Store) sum(ctx context.Context, query, owner string) (n int, err error) {
	defer wrap(&err, "count for %s", owner)
	err = s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, query, owner)(&n) })
	return n, err
}

// Count returns the statistics over all jobs. They are updated with every commit, so the cost
// does not grow with the number of jobs.
func (s *Store) Count(ctx context.Context) (c job.Counts, err error) {
	defer wrap(&err, "count jobs")
	err = s.read(ctx, func(ctx context.Context, x *session) (err error) {
		c, err = s.engine.counts(ctx, x)
		return err
	})
	return c, err
}
