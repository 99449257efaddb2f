package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// change is a transition of one image and its job, and the result.
type change struct {
	ref        job.Ref
	transition job.Transition
	now        time.Time

	after   *job.Job // without its images
	changed bool
	err     error         // of this change alone: job.ErrNotFound, or the transition's
	lost    error         // of the transaction; set before done is closed
	done    chan struct{} // closed when the transaction has ended; PostgreSQL only
}

// changedJob is a job and those of its images that changes are about.
type changedJob struct {
	*row
	before, after []job.Image
}

// change makes the changes in their order, and sets their results.
func (x *session) change(ctx context.Context, list []*change) error {
	jobs, err := x.lock(ctx, list)
	if err != nil {
		return err
	}
	for _, c := range list {
		c.make(jobs[c.ref.JobID])
	}
	var updates []*statement
	for _, j := range jobs {
		updates = append(updates, x.updates(j.row, j.before, j.after)...)
	}
	if err := x.run(ctx, updates...); err != nil {
		return fmt.Errorf("update images and jobs: %w", err)
	}
	for _, j := range jobs {
		j.written()
	}
	return nil
}

// make applies the transition to the job, which is nil if it does not exist.
func (c *change) make(j *changedJob) {
	c.after, c.changed, c.err = nil, false, job.ErrNotFound
	if j == nil {
		return
	}
	i := slices.IndexFunc(j.after, func(img job.Image) bool { return img.Index == c.ref.Index })
	if i < 0 {
		return
	}
	next, img := j.Job, j.after[i]
	c.changed, c.err = next.Apply(&img, c.transition, c.now)
	if c.changed {
		j.Job, j.after[i] = next, img
	}
	after := j.Job
	asStored(&after)
	c.after = &after
}

// lock locks and reads the jobs and the images of the changes. Jobs that do not exist are missing.
func (x *session) lock(ctx context.Context, list []*change) (map[string]*changedJob, error) {
	refs := make([]job.Ref, len(list))
	for i, c := range list {
		refs[i] = c.ref
	}
	// All gateways lock jobs in the same order, so that none waits for another in a circle.
	slices.SortFunc(refs, func(a, b job.Ref) int {
		return cmp.Or(strings.Compare(a.JobID, b.JobID), cmp.Compare(a.Index, b.Index))
	})
	refs = slices.Compact(refs)
	var rows []*row
	var reads []*statement
	images := make(map[string]*[]job.Image, len(refs))
	for i, ref := range refs {
		if i == 0 || ref.JobID != refs[i-1].JobID {
			reads = append(reads, into(&rows, readJob, lockJob, ref.JobID))
			images[ref.JobID] = new([]job.Image)
		}
	}
	// The statements for the images see everything that was committed before the jobs were locked.
	for _, ref := range refs {
		reads = append(reads, into(images[ref.JobID], readImage, lockImage, ref.JobID, ref.Index))
	}
	if err := x.run(ctx, reads...); err != nil {
		return nil, err
	}
	jobs := make(map[string]*changedJob, len(rows))
	for _, r := range rows {
		before := *images[r.ID]
		jobs[r.ID] = &changedJob{row: r, before: before, after: slices.Clone(before)}
	}
	return jobs, nil
}
