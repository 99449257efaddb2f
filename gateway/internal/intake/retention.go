package intake

import (
	"context"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

// retainBatch is how many jobs one step of retention takes.
const retainBatch = 100

// lateFor is how long something may still be stored for a job whose originals are
// gone: whoever has read one before holds it no longer than that, and nobody
// reads one after.
const lateFor = stage.MaxHold

// retain deletes what is due, until ctx ends. Every step leaves a state from
// which the next run goes on: a job is hidden first, then its objects go, then
// what knows of them.
func (in *Intake) retain(ctx context.Context) {
	clock := newSteadyClock(in.deps.Now(), max(in.config.JobRetention, lateFor))
	began := time.Now()
	tick := min(max(in.config.JobRetention/4, 250*time.Millisecond), time.Minute)
	for {
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return
		}
		now := clock.at(in.deps.Now(), time.Since(began))
		if err := in.retainOnce(ctx, now); err != nil && ctx.Err() == nil {
			in.deps.Log.WarnContext(ctx, "retention interrupted", "error", err)
		}
	}
}

func (in *Intake) retainOnce(ctx context.Context, now time.Time) error {
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
	if in.config.ResultRetention > 0 { // The rows wait for the results.
		if err := in.retire(ctx, due, time.Time{}, now); err != nil {
			return err
		}
		due = now.Add(-in.config.ResultRetention)
	}
	return in.retire(ctx, due, now.Add(-lateFor), now)
}

// retire takes every hidden job that ended before the time one step on: those
// whose originals are still there, and those whose originals went before goneBefore.
func (in *Intake) retire(ctx context.Context, endedBefore, goneBefore, now time.Time) error {
	for ctx.Err() == nil {
		jobs, err := in.deps.Retention.Hidden(ctx, endedBefore, goneBefore, retainBatch)
		if err != nil {
			return fmt.Errorf("read hidden jobs: %w", err)
		}
		for _, j := range jobs {
			step := in.forgetOriginals
			if j.OriginalsGone {
				step = in.forget
			}
			if err := step(ctx, j, now); err != nil {
				return fmt.Errorf("delete job %s: %w", j.ID, err)
			}
		}
		if len(jobs) < retainBatch {
			return nil
		}
	}
	return ctx.Err()
}

// forgetOriginals is the first visit to a hidden job: it deletes the originals,
// what belongs to nobody, and results that are due. The originals go first: a
// processor that begins after that finds nothing to make a result of. One that
// has read its original before may put the result after the sweep, so the row
// stays for a second visit unless nothing can come.
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

// forget is the second visit, lateFor after the first: what has come in between
// is deleted, and nothing more can come.
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

// sweep deletes what is nobody's once the job has ended: an original that a fetch
// left which came to nothing, and the results of images that ended as failed all
// the same. With them go the results of the others, when they are due.
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

// mayComeLate reports whether something that is nobody's may still be stored for
// the job, whose originals have just been deleted: the result of an image that was
// given up while it was worked on, or an original by a fetch that was overtaken.
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

// results are the keys of a processed image, its record, its thumbnail and its sidecar.
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

// steadyClock tells the time for deletions: never later than the clock on the
// wall nor than the time that has really passed says, so that a clock that is set
// an hour on, or back, deletes nothing early.
type steadyClock struct {
	retention time.Duration
	base      time.Time     // on the wall, when
	baseAt    time.Duration // this much had really passed
	leapt     time.Duration // when, in really passed time, the wall was found ahead; -1: it is not
}

// leap is how far the wall may be ahead without having been set.
const leap = time.Second

func newSteadyClock(wall time.Time, retention time.Duration) *steadyClock {
	return &steadyClock{retention: retention, base: wall.Round(0), leapt: -1}
}

// at is the time, given what is on the wall and what has really passed since the
// clock was made. A leap forward is believed when the retention has passed since:
// by then every job whose end was written before it is due.
func (c *steadyClock) at(wall time.Time, passed time.Duration) time.Time {
	wall = wall.Round(0) // without its monotonic part, which would hide a leap
	steady := c.base.Add(passed - c.baseAt)
	ahead := wall.Sub(steady)
	switch {
	case ahead <= -leap:
		// The clock was set back. What ends by it meanwhile will look as if it had
		// been over for long when it is set right: a leap forward like any other.
		c.base, c.baseAt, c.leapt = wall, passed, -1
		return wall
	case ahead < leap:
		c.leapt = -1
	case c.leapt < 0:
		c.leapt = passed
	case passed-c.leapt >= c.retention:
		c.base, c.baseAt, c.leapt = wall, passed, -1
		return wall
	}
	if ahead < 0 {
		return wall
	}
	return steady
}
