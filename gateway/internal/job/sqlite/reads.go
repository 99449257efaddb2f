package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Get returns the job with all its images.
func (s *Store) Get(ctx context.Context, id string) (*job.Job, error) {
	j, err := s.find(ctx, id, func(ctx context.Context, x *session, r *row) (err error) {
		r.Images, err = x.images(ctx, r.seq)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get job %s: %w", id, err)
	}
	return j, nil
}

// Changes returns the job with the images changed after a revision.
func (s *Store) Changes(ctx context.Context, id string, after int64) (*job.Job, error) {
	j, err := s.find(ctx, id, func(ctx context.Context, x *session, r *row) error {
		rows, err := x.all(ctx, selectChanges, r.seq, after)
		r.Images, err = collect(rows, err, func(scan scanner) (job.Image, error) { return readImage(scan) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read changes of job %s: %w", id, err)
	}
	return j, nil
}

// Keyed returns the job that has the key.
func (s *Store) Keyed(ctx context.Context, k job.Key) (*job.Job, error) {
	var r *row
	err := s.read(ctx, func(ctx context.Context, x *session) (err error) {
		r, err = readJob(x.one(ctx, selectKeyed, k.Scope, k.Name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the job of a key: %w", err)
	}
	return &r.Job, nil
}

// find reads a job and its images in one snapshot.
func (s *Store) find(ctx context.Context, id string, images func(context.Context, *session, *row) error) (*job.Job, error) {
	var r *row
	err := s.read(ctx, func(ctx context.Context, x *session) (err error) {
		if r, err = readJob(x.one(ctx, selectJob, id)); err != nil {
			return err
		}
		return images(ctx, x, r)
	})
	if err != nil {
		return nil, err
	}
	return &r.Job, nil
}

// List returns a page of the viewer's jobs, newest first.
func (s *Store) List(ctx context.Context, v job.Viewer, after job.Cursor, limit int) ([]*job.Job, error) {
	newest, older, args := selectNewest, selectOlder, []any{}
	if !v.All {
		newest, older, args = selectOwnNewest, selectOwnOlder, []any{v.Owner}
	}
	query := newest
	if after.ID != "" {
		query, args = older, append(args, micros(after.CreatedAt), after.ID)
	}
	args = append(args, max(limit, 0))
	var page []*job.Job
	err := s.read(ctx, func(ctx context.Context, x *session) (err error) {
		page, err = x.whole(ctx, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return page, nil
}

// whole reads the jobs that the query selects, with their images.
func (x *session) whole(ctx context.Context, query string, args ...any) ([]*job.Job, error) {
	rows, err := x.all(ctx, query, args...)
	found, err := collect(rows, err, readJob)
	if err != nil {
		return nil, err
	}
	jobs := make([]*job.Job, len(found))
	for i, r := range found {
		if r.Images, err = x.images(ctx, r.seq); err != nil {
			return nil, err
		}
		jobs[i] = &r.Job
	}
	return jobs, nil
}

// Owned returns how many jobs the owner has.
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

// Count returns figures over all jobs.
func (s *Store) Count(ctx context.Context) (job.Counts, error) {
	counts := s.figures.now()
	err := s.read(ctx, func(ctx context.Context, x *session) error {
		var created int64
		err := x.one(ctx, oldestOpen)(&created)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		counts.OldestOpen = fromMicros(created)
		return err
	})
	if err != nil {
		return job.Counts{}, fmt.Errorf("count jobs: %w", err)
	}
	return counts, nil
}

// opening reads what the store knows by heart from then on.
func (x *session) opening(ctx context.Context) (id string, c job.Counts, err error) {
	if err := x.one(ctx, selectStoreID)(&id); err != nil {
		return "", c, fmt.Errorf("read the store's id: %w", err)
	}
	for query, n := range map[string]*int{countJobs: &c.Jobs, countOpen: &c.OpenImages, countUnsent: &c.Unsent} {
		if err := x.one(ctx, query)(n); err != nil {
			return "", c, fmt.Errorf("count: %w", err)
		}
	}
	return id, c, nil
}
