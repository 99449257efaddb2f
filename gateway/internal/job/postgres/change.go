package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Create stores a job with its images.
func (s *Store) Create(ctx context.Context, j *job.Job) error {
	err := s.write(ctx, func(ctx context.Context, x *session) error { return s.create(ctx, x, j) })
	if err != nil {
		return fmt.Errorf("create job %s: %w", j.ID, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, x *session, j *job.Job) error {
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
	var seq, relayUntil int64
	err := x.one(ctx, query, j.Status, j.Total, j.Completed, j.Failed, j.Revision,
		micros(j.CreatedAt), micros(j.UpdatedAt), micros(j.CompletedAt), micros(j.Lease.Until), work, j.OriginalsGone,
		text(j.RetryOf), text(j.Fingerprint), text(j.Owner), text(j.Origin), text(j.ID), text(j.Lease.Owner), j.Lease.Epoch)(&seq, &relayUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return job.ErrLeaseLost
	}
	if err != nil {
		return err
	}
	x.changed = true
	x.delta.Jobs++
	_, err = x.CopyFrom(ctx, pgx.Identifier{"images"}, insertColumns, pgx.CopyFromSlice(len(j.Images), func(i int) ([]any, error) {
		img := &j.Images[i]
		return []any{
			seq, img.Index, string(img.TraceID), text(img.OriginalFilename), text(img.KeyName), text(img.URL),
			string(img.Status), text(img.Original.Path), text(img.Original.ContentType), img.Original.Size, text(img.Original.SHA256),
			text(img.ProcessedPath), text(img.Error), text(img.ErrorCode), img.Retryable,
			micros(img.StartTime), micros(img.EndTime), img.Revision, img.Unsent, img.Send, s.relay, relayUntil + relayTime.Microseconds(),
		}, nil
	}))
	if err != nil {
		return fmt.Errorf("insert images: %w", err)
	}
	for i := range j.Images {
		x.count(&j.Images[i], 1)
	}
	return nil
}

// insertColumns are what create writes of an image.
var insertColumns = []string{
	"job", "idx", "trace_id", "original_filename", "key_name", "url",
	"status", "original_path", "content_type", "size", "sha256",
	"processed_path", "error", "error_code", "retryable",
	"start_time", "end_time", "revision", "unsent", "send", "relay", "relay_until",
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
func (s *Store) Change(ctx context.Context, ref job.Ref, t job.Transition, at time.Time) (*job.Job, bool, error) {
	var after *job.Job
	var changed bool
	leave, err := s.lanes.enter(ctx, ref.JobID)
	if err == nil {
		defer leave()
		err = s.write(ctx, func(ctx context.Context, x *session) (err error) {
			after, changed, err = s.change(ctx, x, ref, t, at)
			return err
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("change image %d of job %s: %w", ref.Index, ref.JobID, err)
	}
	return after, changed, nil
}

func (s *Store) change(ctx context.Context, x *session, ref job.Ref, t job.Transition, at time.Time) (*job.Job, bool, error) {
	r, img, err := x.lock(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	before := img
	changed, err := r.Apply(&img, t, at)
	if err != nil || !changed {
		return &r.Job, false, err
	}
	if before.ToFetch() && !img.ToFetch() {
		r.work--
	}
	if err := x.update(ctx, r, s.relay, &img); err != nil {
		return nil, false, err
	}
	x.count(&before, -1)
	x.count(&img, 1)
	asStored(&r.Job)
	return &r.Job, true, nil
}

// lock reads a job and one of its images as they are when nobody else is at
// them. The image is read by a statement of its own, which sees what was
// committed until the job's row was ours.
func (x *session) lock(ctx context.Context, ref job.Ref) (*row, job.Image, error) {
	var b pgx.Batch
	b.Queue(lockJob, text(ref.JobID))
	b.Queue(lockImage, text(ref.JobID), ref.Index)
	answers := x.SendBatch(ctx, &b)
	r, err := readJob(answers.QueryRow().Scan)
	if err != nil {
		return nil, job.Image{}, errors.Join(orNotFound(err), closeBatch(answers, err))
	}
	img, err := readImage(answers.QueryRow().Scan)
	if err != nil {
		return nil, job.Image{}, errors.Join(orNotFound(err), closeBatch(answers, err))
	}
	if err := answers.Close(); err != nil {
		return nil, job.Image{}, err
	}
	return r, img, nil
}

// closeBatch ends a batch of which an answer was an error, and tells what else
// went wrong.
func closeBatch(answers pgx.BatchResults, known error) error {
	if err := answers.Close(); err != nil && !errors.Is(err, known) {
		return err
	}
	return nil
}

// update writes images that have changed and their job.
func (x *session) update(ctx context.Context, r *row, relay string, images ...*job.Image) error {
	var b pgx.Batch
	for _, img := range images {
		b.Queue(updateImage, img.Status, text(img.Original.Path), text(img.Original.ContentType), img.Original.Size,
			text(img.Original.SHA256), text(img.ProcessedPath), text(img.Error), text(img.ErrorCode), img.Retryable,
			micros(img.StartTime), micros(img.EndTime), img.Revision, img.Unsent, img.Send,
			relay, relayTime.Microseconds(), r.seq, img.Index)
	}
	b.Queue(updateJob, r.Status, r.Completed, r.Failed, r.Revision, micros(r.UpdatedAt), micros(r.CompletedAt), r.work, r.seq)
	if err := x.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("update images and job: %w", err)
	}
	x.changed = true
	return nil
}
