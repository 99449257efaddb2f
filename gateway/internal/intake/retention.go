package intake

import (
	"context"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/faultpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/patience"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// retainBatch is how many jobs one step of retention takes.
const retainBatch = 100

// retain deletes what is due, until ctx ends. Every step leaves a state from
// which the next run goes on: a job is hidden first, then its objects go, then
// what knows of them.
func (in *Intake) retain(ctx context.Context) {
	clock := newSteadyClock(in.deps.Now(), in.config.JobRetention)
	began := time.Now()
	tick := min(max(in.config.JobRetention/4, 250*time.Millisecond), time.Minute)
	for patience.Pause(ctx, tick) {
		now := clock.at(in.deps.Now(), time.Since(began))
		if err := in.retainOnce(ctx, now); err != nil && ctx.Err() == nil {
			in.deps.Log.WarnContext(ctx, "retention interrupted", "error", err)
		}
	}
}

func (in *Intake) retainOnce(ctx context.Context, now time.Time) error {
	jobsDue := now.Add(-in.config.JobRetention)
	for {
		n, err := in.deps.Jobs.Hide(ctx, jobsDue, retainBatch)
		if err != nil {
			return fmt.Errorf("hide ended jobs: %w", err)
		}
		in.figures.deleted.Add(float64(n), "job")
		if n > 0 {
			faultpoint.Reach("jobs hidden", "")
		}
		if n < retainBatch {
			break
		}
	}
	if in.config.ResultRetention == 0 {
		return in.eachHidden(ctx, jobsDue, func(j *job.Job) (bool, error) {
			return true, in.forget(ctx, j)
		})
	}
	err := in.eachHidden(ctx, now.Add(-in.config.ResultRetention), func(j *job.Job) (bool, error) {
		if err := in.deleteResults(ctx, j); err != nil {
			return false, err
		}
		return true, in.forget(ctx, j)
	})
	if err != nil {
		return err
	}
	return in.eachHidden(ctx, jobsDue, func(j *job.Job) (bool, error) {
		if j.OriginalsGone {
			return false, nil
		}
		return true, in.forgetOriginals(ctx, j)
	})
}

// eachHidden gives do the hidden jobs that ended before the time, until do has
// done nothing to a whole page of them. Those whose originals are still there
// come first.
func (in *Intake) eachHidden(ctx context.Context, endedBefore time.Time, do func(*job.Job) (bool, error)) error {
	for ctx.Err() == nil {
		jobs, err := in.deps.Jobs.Hidden(ctx, endedBefore, retainBatch)
		if err != nil {
			return fmt.Errorf("read hidden jobs: %w", err)
		}
		some := false
		for _, j := range jobs {
			done, err := do(j)
			if err != nil {
				return fmt.Errorf("delete job %s: %w", j.ID, err)
			}
			some = some || done
		}
		if !some || len(jobs) < retainBatch {
			return nil
		}
	}
	return ctx.Err()
}

// forget deletes a hidden job with its originals.
func (in *Intake) forget(ctx context.Context, j *job.Job) error {
	if err := in.forgetOriginals(ctx, j); err != nil {
		return err
	}
	faultpoint.Reach("originals forgotten", j.ID)
	if err := in.deps.Jobs.Delete(ctx, j.ID); err != nil && !lost(err) {
		return err
	}
	return nil
}

// forgetOriginals deletes the originals of a hidden job, and what else belongs
// to nobody once it has ended: an original that a fetch left which came to
// nothing, and the results of images that ended as failed all the same. The
// originals go first: a processor that begins after that finds nothing to make a
// result of. One that has read its original before and puts the result after the
// sweep leaves objects that nothing deletes, which takes an image that was
// given up a whole JobRetention before and a processor in the middle of it.
func (in *Intake) forgetOriginals(ctx context.Context, j *job.Job) error {
	if j.OriginalsGone {
		return nil
	}
	var originals, orphans []string
	for i := range j.Images {
		img := &j.Images[i]
		if img.Original.Stored() {
			originals = append(originals, img.Original.Path)
			if img.ProcessedPath == "" {
				orphans = append(orphans, results(pipeline.ProcessedKey(img.TraceID, img.Original.Path))...)
			}
		}
		if img.URL != "" {
			if err := deleteBelow(ctx, in.deps.Originals, img.TraceID); err != nil {
				return err
			}
		}
	}
	if err := in.deleteObjects(ctx, in.deps.Originals, "original", originals); err != nil {
		return err
	}
	if err := in.deleteObjects(ctx, in.deps.Processed, "orphan", orphans); err != nil {
		return err
	}
	faultpoint.Reach("originals deleted", j.ID)
	if err := in.deps.Jobs.ForgetOriginals(ctx, j.ID); err != nil && !lost(err) {
		return err
	}
	return nil
}

// deleteResults deletes what the processor made of a job's images.
func (in *Intake) deleteResults(ctx context.Context, j *job.Job) error {
	var keys []string
	for i := range j.Images {
		if p := j.Images[i].ProcessedPath; p != "" {
			keys = append(keys, results(p)...)
		}
	}
	return in.deleteObjects(ctx, in.deps.Processed, "result", keys)
}

// results are the keys of a processed image, its record, its thumbnail and its sidecar.
func results(processed string) []string {
	return []string{pipeline.ThumbnailKey(processed), pipeline.RecordKey(processed), pipeline.SidecarKey(processed), processed}
}

func (in *Intake) deleteObjects(ctx context.Context, s objectstore.Store, kind string, keys []string) error {
	if err := deleteAll(ctx, s, keys); err != nil {
		return err
	}
	in.figures.deleted.Add(float64(len(keys)), kind)
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
