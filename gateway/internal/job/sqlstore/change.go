package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
)

// Create stores the whole job with its images in one transaction, and ends its reservation.
// j.Lease is the lease of the reservation, or has epoch 0 without a reservation. It returns
// job.ErrLeaseLost when the reservation is gone or another gateway holds it, because the
// gateway that claimed it has deleted the objects.
func (s *Store) Create(ctx context.Context, j *job.Job) (err error) {
	defer wrap(&err, "create job %s", j.ID)
	return s.write(ctx, "", func(ctx context.Context, x *session) error { return x.create(ctx, j) })
}

func (x *session) create(ctx context.Context, j *job.Job) error {
	work := 0
	for i := range j.Images {
		if j.Images[i].ToFetch() {
			work++
		}
	}
	// A job with an epoch was reserved, and its row must still be ours. A job without an epoch
	// must not exist yet, which the unique ID ensures.
	if j.Lease.Epoch == 0 {
		if _, err := x.exec(ctx, reserveJob, j.ID, j.Lease.Owner, 0, micros(j.Lease.Until), "", ""); err != nil {
			return err
		}
	}
	var seq, clock int64
	err := x.one(ctx, fillReserved, j.Status, j.Total, j.Completed, j.Failed, j.Revision,
		micros(j.CreatedAt), micros(j.UpdatedAt), micros(j.CompletedAt), micros(j.Lease.Until), work, j.OriginalsGone,
		j.RetryOf, j.Fingerprint, j.Owner, j.Origin, encode(j.Metadata), j.Metadata[job.UploadKey], encode(j.Warnings), j.ID, j.Lease.Owner, j.Lease.Epoch)(&seq, &clock)
	if errors.Is(err, job.ErrNotFound) {
		return job.ErrLeaseLost
	}
	if err != nil {
		return err
	}
	x.changed = true
	x.delta.Jobs++
	rows := make([][]any, len(j.Images))
	for i := range j.Images {
		img := &j.Images[i]
		fixed := []any{seq, img.Index, string(img.TraceID), img.OriginalFilename, img.KeyName, img.URL, string(img.Headers), img.CustomID, img.RemoveCaptions}
		rows[i] = append(fixed, changing(img)...)
		x.count(img, 1)
	}
	if err := x.insert(ctx, rows, clock); err != nil {
		return fmt.Errorf("insert images: %w", err)
	}
	if !j.Status.Ended() {
		return nil
	}
	if err := x.run(ctx, endMessages(j)); err != nil {
		return fmt.Errorf("write messages for webhooks: %w", err)
	}
	return nil
}

// changing returns the columns of an image that transitions change.
func changing(img *job.Image) []any {
	return []any{
		string(img.Status), img.Original.Path, img.Original.ContentType, img.Original.Size, img.Original.SHA256,
		img.ProcessedPath, img.Error, img.ErrorCode, img.Retryable,
		micros(img.StartTime), micros(img.EndTime), img.Revision, img.Unsent, img.Send,
		img.Appearance.PHash, img.Appearance.Width, img.Appearance.Height, string(img.Captions),
	}
}

// count adds the image to the counters, or subtracts it if sign is -1.
func (x *session) count(img *job.Image, sign int) {
	if !img.Status.Ended() {
		x.delta.OpenImages += sign
	}
	if img.Unsent {
		x.delta.Unsent += sign
	}
}

// Change applies the transition to one image and its job in one transaction. It returns the job
// after that, without its images, and whether anything changed. It returns
// job.ErrNotFound, job.ErrUnavailable or the transition's error.
func (s *Store) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (after *job.Job, changed bool, err error) {
	defer wrap(&err, "change image %d of job %s", ref.Index, ref.JobID)
	err = s.write(ctx, ref.JobID, func(ctx context.Context, x *session) (err error) {
		after, changed, err = x.change(ctx, ref, t, now)
		return err
	})
	return after, changed && err == nil, err
}

func (x *session) change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error) {
	// The image is read by a separate statement, which sees everything that was committed
	// before the job's row was locked.
	var rows []*row
	var images []job.Image
	err := x.run(ctx, into(&rows, readJob, lockJob, ref.JobID), into(&images, readImage, lockImage, ref.JobID, ref.Index))
	if err != nil {
		return nil, false, err
	}
	if len(rows) == 0 || len(images) == 0 {
		return nil, false, job.ErrNotFound
	}
	r, before := rows[0], images[0]
	changed, err := r.Apply(&images[0], t, now)
	if err != nil || !changed {
		return &r.Job, false, err
	}
	work := r.work
	if before.ToFetch() && !images[0].ToFetch() {
		work--
	}
	if err := x.update(ctx, r, work, []job.Image{before}, images); err != nil {
		return nil, false, err
	}
	return &r.Job, true, nil
}

// Cancel cancels the job by [job.Job.Cancel] in one transaction. It returns the job after that,
// with all its images, and whether anything changed: a job that has ended is not
// changed.
func (s *Store) Cancel(ctx context.Context, id string, now time.Time) (after *job.Job, changed bool, err error) {
	defer wrap(&err, "cancel job %s", id)
	err = s.write(ctx, id, func(ctx context.Context, x *session) (err error) {
		after, changed, err = x.cancel(ctx, id, now)
		return err
	})
	return after, changed && err == nil, err
}

func (x *session) cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error) {
	r, err := readJob(x.one(ctx, lockJob, id))
	if err != nil {
		return nil, false, err
	}
	if err := x.run(ctx, into(&r.Images, readImage, lockImages, r.seq)); err != nil {
		return nil, false, fmt.Errorf("read images: %w", err)
	}
	before := slices.Clone(r.Images)
	if !r.Cancel(now) {
		return &r.Job, false, nil
	}
	if err := x.update(ctx, r, 0, before, r.Images); err != nil {
		return nil, false, err
	}
	return &r.Job, true, nil
}

// update writes a changed job and its changed images. It writes indexed columns only if they
// change, which spares SQLite the pages of the indexes.
func (x *session) update(ctx context.Context, r *row, work int, before, after []job.Image) error {
	var updates []*statement
	for i := range after {
		img := &after[i]
		if img.Revision != r.Revision {
			continue
		}
		updates = append(updates, &statement{query: updateImage, args: append(changing(img), r.seq, img.Index)})
		if before[i].Headers != img.Headers { //nolint:gosec // both slices have the same length
			updates = append(updates, &statement{query: dropHeaders, args: []any{r.seq, img.Index}})
		}
		x.count(&before[i], -1) //nolint:gosec // both slices have the same length
		x.count(img, 1)
	}
	switch {
	case r.Status.Ended():
		updates = append(updates, &statement{query: endJob, args: []any{
			r.Status, r.Completed, r.Failed, r.Uncaptioned, r.Revision, micros(r.UpdatedAt), micros(r.CompletedAt), r.seq,
		}})
	case r.Status != r.status || r.Failed != r.failed || r.Uncaptioned != r.uncaptioned:
		updates = append(updates, &statement{query: updateJob, args: []any{
			r.Status, r.Completed, r.Failed, r.Uncaptioned, r.Revision, micros(r.UpdatedAt), r.seq,
		}})
	default:
		updates = append(updates, &statement{query: advanceJob, args: []any{r.Completed, r.Revision, micros(r.UpdatedAt), r.seq}})
	}
	if work != r.work && !r.Status.Ended() {
		updates = append(updates, &statement{query: updateWork, args: []any{work, r.seq}})
	}
	ends := r.Status.Ended() && !r.status.Ended()
	if ends {
		updates = append(updates, endMessages(&r.Job))
	}
	if err := x.run(ctx, updates...); err != nil {
		return fmt.Errorf("update images and job: %w", err)
	}
	if ends {
		failpoint.Reach("webhooks enqueued", r.ID)
	}
	asStored(&r.Job)
	return nil
}
