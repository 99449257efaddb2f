package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

// retainBatch is the number of jobs in one step of retention.
const retainBatch = 100

// maxRefused is the number of jobs whose objects cannot be deleted after which a run ends.
const maxRefused = 100

// lateFor is how long an object may still be stored for a job after its originals are
// deleted: a processor that has read an original stores its result within this time, and
// no processor can read it later.
const lateFor = stage.MaxHold

// retain deletes expired jobs, objects and one-time downloads until ctx is done. Every step leaves a state from
// which the next run can continue: first the job is hidden, then its objects are deleted, then the
// rows that refer to them.
func (in *Intake) retain(ctx context.Context) {
	clock := newSteadyClock(in.deps.Now(), max(in.config.JobRetention, lateFor))
	start := time.Now()
	tick := min(max(in.config.JobRetention/4, 250*time.Millisecond), time.Minute)
	var captions <-chan time.Time // nil: they are kept
	if in.config.CaptionRetention > 0 {
		ticker := time.NewTicker(sweepEvery(in.config.CaptionRetention))
		defer ticker.Stop()
		captions = ticker.C
	}
	for {
		select {
		case <-time.After(tick):
		case <-captions:
			if err := in.sweepCaptions(ctx, clock.at(in.deps.Now(), time.Since(start))); err != nil && ctx.Err() == nil {
				in.deps.Log.WarnContext(ctx, "deletion of expired captions failed", "error", err)
			}
		case <-ctx.Done():
			return
		}
		now := clock.at(in.deps.Now(), time.Since(start))
		if err := in.Expire(ctx, now); err != nil && ctx.Err() == nil {
			in.deps.Log.WarnContext(ctx, "retention run failed", "error", err)
		}
	}
}

// Expire deletes, once, everything that has expired by then: the jobs that Run would delete.
func (in *Intake) Expire(ctx context.Context, now time.Time) error {
	if err := in.deps.Retention.DropDownloads(ctx, now); err != nil {
		return err
	}
	due := now.Add(-in.config.JobRetention)
	for {
		n, err := in.deps.Retention.Hide(ctx, due, retainBatch)
		if err != nil {
			return fmt.Errorf("hide ended jobs: %w", err)
		}
		in.metrics.deleted.Add(float64(n), "job")
		if n > 0 {
			failpoint.Reach("jobs hidden", "")
		}
		if n < retainBatch {
			break
		}
	}
	if in.config.ResultRetention > 0 { // Rows are deleted together with the results.
		err := in.retire(ctx, due, time.Time{}, now)
		if err != nil && !errors.Is(err, objectstore.ErrRefused) {
			return err
		}
		return cmp.Or(err, in.retire(ctx, now.Add(-in.config.ResultRetention), now.Add(-lateFor), now))
	}
	return in.retire(ctx, due, now.Add(-lateFor), now)
}

// retire advances every hidden job that ended before endedBefore by one step, if its
// originals still exist or were deleted before goneBefore. A job whose objects the storage
// refuses to delete does not stop the others, but retire gives up after maxRefused of them:
// every step reads them again.
func (in *Intake) retire(ctx context.Context, endedBefore, goneBefore, now time.Time) error {
	refused := map[string]bool{}
	var first error
	for ctx.Err() == nil {
		limit := retainBatch + len(refused)
		jobs, err := in.deps.Retention.Hidden(ctx, endedBefore, goneBefore, limit)
		if err != nil {
			return fmt.Errorf("read hidden jobs: %w", err)
		}
		for _, j := range jobs {
			if refused[j.ID] {
				continue
			}
			step := in.forgetOriginals
			if j.OriginalsGone {
				step = in.forget
			}
			err := step(ctx, j, now)
			if err == nil {
				continue
			}
			err = fmt.Errorf("delete job %s: %w", j.ID, err)
			if !errors.Is(err, objectstore.ErrRefused) {
				return err
			}
			refused[j.ID], first = true, cmp.Or(first, err)
			if len(refused) == maxRefused {
				return first
			}
		}
		if len(jobs) < limit {
			return first
		}
	}
	return ctx.Err()
}

// forgetOriginals is the first step for a hidden job. It deletes the originals, orphaned
// objects, and expired results. The originals are deleted first, so that a processor that starts
// later cannot create a result. A processor that has already read its original may store the
// result after the sweep, so the row stays for a second step unless that cannot happen.
func (in *Intake) forgetOriginals(ctx context.Context, j *job.Job, now time.Time) error {
	var originals []string
	for i := range j.Images {
		if o := j.Images[i].Original; o.Stored() {
			originals = append(originals, o.Path)
		}
	}
	if err := in.deleteObjects(ctx, in.deps.Originals, "original", originals); err != nil {
		return err
	}
	if err := in.sweep(ctx, j, now); err != nil {
		return err
	}
	failpoint.Reach("originals deleted", j.ID)
	if err := in.deps.Retention.ForgetOriginals(ctx, j.ID, now); err != nil && !lost(err) {
		return err
	}
	failpoint.Reach("originals forgotten", j.ID)
	if in.config.ResultRetention > 0 || mayComeLate(j, now) {
		return nil
	}
	return in.forgetRow(ctx, j)
}

// forget is the second step, lateFor after the first. It deletes the objects that were stored
// in between; no more can follow.
func (in *Intake) forget(ctx context.Context, j *job.Job, now time.Time) error {
	if err := in.sweep(ctx, j, now); err != nil {
		return err
	}
	return in.forgetRow(ctx, j)
}

func (in *Intake) forgetRow(ctx context.Context, j *job.Job) error {
	if err := in.deps.Retention.Delete(ctx, j.ID); err != nil && !lost(err) {
		return err
	}
	return nil
}

// sweep deletes objects that belong to no image once the job has ended: originals left by an
// abandoned fetch, and results of images that ended as failed anyway. It also deletes the
// results of completed images if they have expired.
func (in *Intake) sweep(ctx context.Context, j *job.Job, now time.Time) error {
	var orphans, due []string
	resultsDue := in.config.ResultRetention > 0 && j.CompletedAt.Before(now.Add(-in.config.ResultRetention))
	for i := range j.Images {
		img := &j.Images[i]
		if img.URL != "" {
			if err := deleteBelow(ctx, in.deps.Originals, img.TraceID); err != nil {
				return err
			}
		}
		switch {
		case img.ProcessedPath == "" && img.Original.Stored():
			orphans = append(orphans, results(pipeline.ProcessedKey(img.TraceID, img.Original.Path))...)
		case img.ProcessedPath != "" && resultsDue:
			due = append(due, results(img.ProcessedPath)...)
		}
	}
	if err := in.deleteObjects(ctx, in.deps.Processed, "orphan", orphans); err != nil {
		return err
	}
	return in.deleteObjects(ctx, in.deps.Processed, "result", due)
}

// mayComeLate reports whether an orphaned object may still be stored for a job whose
// originals have just been deleted: the result of an image that ended as failed during its
// processing, or an original from a fetch whose job was taken over.
func mayComeLate(j *job.Job, now time.Time) bool {
	for i := range j.Images {
		switch img := &j.Images[i]; {
		case img.ProcessedPath == "" && (img.Original.Stored() || img.URL != ""),
			img.URL != "" && now.Sub(img.EndTime) < lateFor:
			return true
		}
	}
	return false
}

// results returns the keys of a processed image, its record, its thumbnail and its sidecar.
func results(processed string) []string {
	return []string{pipeline.ThumbnailKey(processed), pipeline.RecordKey(processed), pipeline.SidecarKey(processed), processed}
}

func (in *Intake) deleteObjects(ctx context.Context, s objectstore.Store, kind string, keys []string) error {
	if err := deleteAll(ctx, s, keys); err != nil {
		return err
	}
	in.metrics.deleted.Add(float64(len(keys)), kind)
	return nil
}

// steadyClock is the clock for deletions. It is never ahead of the wall clock or of the time
// that has really elapsed, so a wall clock that is set an hour forward or back deletes nothing
// early.
type steadyClock struct {
	retention time.Duration
	base      time.Time     // wall time at baseAt
	baseAt    time.Duration // elapsed time at base
	leapAt    time.Duration // elapsed time at which the wall clock was found ahead; -1: it is not ahead
}

// leap is how far ahead the wall clock may be without counting as set.
const leap = time.Second

func newSteadyClock(wall time.Time, retention time.Duration) *steadyClock {
	return &steadyClock{retention: retention, base: wall.Round(0), leapAt: -1}
}

// at returns the time, given the wall time and the time elapsed since the clock was created.
// It accepts a forward leap once the retention has passed since: by then every job whose end
// was written before the leap has expired anyway.
func (c *steadyClock) at(wall time.Time, passed time.Duration) time.Time {
	wall = wall.Round(0) // Drop the monotonic part, which would hide a leap.
	steady := c.base.Add(passed - c.baseAt)
	ahead := wall.Sub(steady)
	switch {
	case ahead <= -leap:
		// The clock was set back. Jobs that end before it is corrected will then seem to
		// have ended long ago: a forward leap like any other.
		c.base, c.baseAt, c.leapAt = wall, passed, -1
		return wall
	case ahead < leap:
		c.leapAt = -1
	case c.leapAt < 0:
		c.leapAt = passed
	case passed-c.leapAt >= c.retention:
		c.base, c.baseAt, c.leapAt = wall, passed, -1
		return wall
	}
	if ahead < 0 {
		return wall
	}
	return steady
}
