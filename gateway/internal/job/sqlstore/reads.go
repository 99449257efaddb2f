package sqlstore

import (
	"context"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Get returns the job with all its images in order.
func (s *Store) Get(ctx context.Context, id string) (*job.Job, error) {
	j, err := s.find(ctx, func(r *row) *statement { return into(&r.Images, readImage, selectImages, r.seq) }, selectJob, id)
	if err != nil {
		return nil, fmt.Errorf("get job %s: %w", id, err)
	}
	return j, nil
}

// Changes returns the job with the images whose revision is above after, in order of
// revision and then index, from one consistent read.
func (s *Store) Changes(ctx context.Context, id string, after int64) (*job.Job, error) {
	j, err := s.find(ctx, func(r *row) *statement { return into(&r.Images, readImage, selectChanges, r.seq, after) }, selectJob, id)
	if err != nil {
		return nil, fmt.Errorf("read changes of job %s: %w", id, err)
	}
	return j, nil
}

// Keyed returns the job that has the key, without its images; a job that is still
// received has the status Receiving. It returns job.ErrNotFound when none has the key.
func (s *Store) Keyed(ctx context.Context, k job.Key) (*job.Job, error) {
	j, err := s.find(ctx, nil, selectKeyed, k.Scope, k.Name)
	if err != nil {
		return nil, fmt.Errorf("find the job of a key: %w", err)
	}
	return j, nil
}

// find reads a job, and with images the images that their query returns.
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

// List returns up to limit of the viewer's jobs with all their images, newest first,
// starting after the given one (the zero Cursor: with the newest).
func (s *Store) List(ctx context.Context, v job.Viewer, after job.Cursor, limit int) ([]*job.Job, error) {
	newest, older, args := selectNewest, selectOlder, []any{}
	if !v.All {
		newest, older, args = selectOwnNewest, selectOwnOlder, []any{v.Owner}
	}
	query := newest
	if after.ID != "" {
		query, args = older, append(args, micros(after.CreatedAt), after.ID)
	}
	var page []*row
	err := s.read(ctx, func(ctx context.Context, x *session) error {
		page = nil
		if err := x.run(ctx, into(&page, readJob, query, append(args, max(limit, 0))...)); err != nil {
			return err
		}
		return x.images(ctx, page)
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return jobs(page), nil
}

// Owned returns how many visible jobs the owner has. It counts them, unlike Count, so its
// cost grows with their number. Jobs that were created without keys have no owner.
func (s *Store) Owned(ctx context.Context, owner string) (int, error) {
	return s.sum(ctx, countOwned, owner)
}

// OpenImages returns how many images of the owner have not ended.
func (s *Store) OpenImages(ctx context.Context, owner string) (int, error) {
	return s.sum(ctx, countOwnedOpen, owner)
}

func (s *Store) sum(ctx context.Context, query, owner string) (n int, _ error) {
	err := s.read(ctx, func(ctx context.Context, x *session) error { return x.one(ctx, query, owner)(&n) })
	if err != nil {
		return 0, fmt.Errorf("count for %s: %w", owner, err)
	}
	return n, nil
}

// Count returns the figures over all jobs. They are carried along with every commit, so
// that the cost does not grow with the number of jobs.
func (s *Store) Count(ctx context.Context) (c job.Counts, _ error) {
	err := s.read(ctx, func(ctx context.Context, x *session) (err error) {
		c, err = s.engine.counts(ctx, x)
		return err
	})
	if err != nil {
		return job.Counts{}, fmt.Errorf("count jobs: %w", err)
	}
	return c, nil
}
