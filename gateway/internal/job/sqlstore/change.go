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
	return s.write(ctx, func(ctx context.Context, x *session) error { return x.create(ctx, j) })
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

// Change applies the transition to one image and its job in one transaction, perhaps together with
// other changes. It returns the job after that, without its images, and whether anything changed. It
// returns job.ErrNotFound, job.ErrUnavailable or the transition's error.
func (s *Store) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (after *job.Job, changed bool, err error) {
	defer wrap(&err, "change image %d of job %s", ref.Index, ref.JobID)
	c := &change{ref: ref, transition: t, now: now}
	if err := s.end(ctx, s.engine.change(ctx, c), c.changed); err != nil {
		return nil, false, err
	}
	return c.after, c.changed, c.err
}

// Cancel cancels the job by [job.Job.Cancel] in one transaction. It returns the job after that,
// with all its images, and whether anything changed: a job that has ended is not
// changed.
func (s *Store) Cancel(ctx context.Context, id string, now time.Time) (after *job.Job, changed bool, err error) {
	defer wrap(&err, "cancel job %s", id)
	err = s.write(ctx, func(ctx context.Context, x *session) (err error) {
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
	if err := x.run(ctx, x.updates(r, before, r.Images)...); err != nil {
		return nil, false, fmt.Errorf("update images and job: %w", err)
	}
	r.written()
	return &r.Job, true, nil
}

// updates returns the statements that write a changed job and those of its images that have
// changed. They write indexed columns only if they change, which spares SQLite the pages of the
// indexes.
func (x *session) updates(r *row, before, after []job.Image) []*statement {
	var updates []*statement
	work := r.work
	for i := range after {
		img := &after[i]
		if img.Revision == before[i].Revision { //nolint:gosec // both slices have the same length
			continue
		}
		if before[i].ToFetch() && !img.ToFetch() { //nolint:gosec // both slices have the same length
			work--
		}
		updates = append(updates, &statement{query: updateImage, args: append(changing(img), r.seq, img.Index)})
		if before[i].Headers != img.Headers { //nolint:gosec // both slices have the same length
			updates = append(updates, &statement{query: dropHeaders, args: []any{r.seq, img.Index}})
		}
		x.count(&before[i], -1) //nolint:gosec // both slices have the same length
		x.count(img, 1)
	}
	switch {
	case len(updates) == 0:
		return nil
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
	if r.ends() {
		updates = append(updates, endMessages(&r.Job))
	}
	return updates
}

// ends reports whether the change ends the job.
func (r *row) ends() bool { return r.Status.Ended() && !r.status.Ended() }

// written is called after the updates.
func (r *row) written() {
	if r.ends() {
		failpoint.Reach("webhooks enqueued", r.ID)
	}
	asStored(&r.Job)
}
