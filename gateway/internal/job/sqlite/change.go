package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Create stores a job with its images.
func (s *Store) Create(ctx context.Context, j *job.Job) error {
	err := s.write(ctx, func(ctx context.Context, x *session) error { return x.create(ctx, j) })
	if err != nil {
		return fmt.Errorf("create job %s: %w", j.ID, err)
	}
	return nil
}

func (x *session) create(ctx context.Context, j *job.Job) error {
	if err := x.own(ctx, j.Lease); err != nil {
		return err
	}
	work := 0
	for i := range j.Images {
		if j.Images[i].ToFetch() {
			work++
		}
	}
	// A job with an epoch was reserved, and its row must still be ours. Without
	// one it must not be there yet, which the uniqueness of ids sees to.
	query := insertJob
	if j.Lease.Epoch > 0 {
		query = fillReserved
	}
	var seq int64
	err := x.one(ctx, query, j.Status, j.Total, j.Completed, j.Failed, j.Revision,
		micros(j.CreatedAt), micros(j.UpdatedAt), micros(j.CompletedAt), micros(j.Lease.Until), work, j.OriginalsGone,
		j.RetryOf, j.Fingerprint, j.Owner, j.Origin, j.ID, j.Lease.Owner, j.Lease.Epoch)(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return job.ErrLeaseLost
	}
	if err != nil {
		return err
	}
	x.changed = true
	x.delta.Jobs++
	for i := range j.Images {
		if err := x.insertImage(ctx, seq, &j.Images[i]); err != nil {
			return fmt.Errorf("insert image %d: %w", i, err)
		}
	}
	return nil
}

func (x *session) insertImage(ctx context.Context, seq int64, img *job.Image) error {
	_, err := x.exec(ctx, insertImage, seq, img.Index, img.TraceID, img.OriginalFilename, img.KeyName, img.URL,
		img.Status, img.Original.Path, img.Original.ContentType, img.Original.Size, img.Original.SHA256,
		img.ProcessedPath, img.Error, img.ErrorCode, img.Retryable,
		micros(img.StartTime), micros(img.EndTime), img.Revision, img.Unsent, img.Send)
	x.count(img, 1)
	return err
}

// count adds the image to the figures, or with -1 takes it away.
func (x *session) count(img *job.Image, sign int) {
	if !img.Status.Ended() {
		x.delta.OpenImages += sign
	}
	if img.Unsent {
		x.delta.Unsent += sign
	}
}

// Change applies the transition to one image and its job.
func (s *Store) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error) {
	var after *job.Job
	var changed bool
	err := s.write(ctx, func(ctx context.Context, x *session) (err error) {
		after, changed, err = x.change(ctx, ref, t, now)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("change image %d of job %s: %w", ref.Index, ref.JobID, err)
	}
	return after, changed, nil
}

func (x *session) change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error) {
	r, err := readJob(x.one(ctx, selectJob, ref.JobID))
	if err != nil {
		return nil, false, orNotFound(err)
	}
	img, err := readImage(x.one(ctx, selectImage, r.seq, ref.Index))
	if err != nil {
		return nil, false, orNotFound(err)
	}
	before := img
	changed, err := r.Apply(&img, t, now)
	if err != nil || !changed {
		return &r.Job, false, err
	}
	if err := x.update(ctx, r, &before, &img); err != nil {
		return nil, false, err
	}
	asStored(&r.Job)
	return &r.Job, true, nil
}

// update writes an image that has changed and its job. Columns that an index is
// made of are written only when they differ, which spares their pages.
func (x *session) update(ctx context.Context, r *row, before, img *job.Image) error {
	if err := x.updateImage(ctx, r.seq, before, img); err != nil {
		return err
	}
	if err := x.updateJob(ctx, r); err != nil {
		return err
	}
	if before.ToFetch() && !img.ToFetch() {
		return x.updateWork(ctx, r, r.work-1)
	}
	return nil
}

func (x *session) updateImage(ctx context.Context, seq int64, before, img *job.Image) error {
	_, err := x.exec(ctx, updateImage, img.Status, img.Original.Path, img.Original.ContentType, img.Original.Size,
		img.Original.SHA256, img.ProcessedPath, img.Error, img.ErrorCode, img.Retryable,
		micros(img.StartTime), micros(img.EndTime), img.Revision, img.Unsent, img.Send, seq, img.Index)
	if err != nil {
		return fmt.Errorf("update image %d: %w", img.Index, err)
	}
	x.count(before, -1)
	x.count(img, 1)
	return nil
}

func (x *session) updateJob(ctx context.Context, r *row) (err error) {
	if r.Status.Ended() {
		_, err = x.exec(ctx, endJob, r.Status, r.Completed, r.Failed, r.Revision,
			micros(r.UpdatedAt), micros(r.CompletedAt), r.seq)
	} else {
		_, err = x.exec(ctx, updateJob, r.Status, r.Completed, r.Failed, r.Revision, micros(r.UpdatedAt), r.seq)
	}
	if err != nil {
		return fmt.Errorf("update job: %w", err)
	}
	return nil
}

func (x *session) updateWork(ctx context.Context, r *row, work int) error {
	if _, err := x.exec(ctx, updateWork, work, r.seq); err != nil {
		return fmt.Errorf("update job's work: %w", err)
	}
	return nil
}

// orNotFound names the absence of a row as the domain does.
func orNotFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return job.ErrNotFound
	}
	return err
}
