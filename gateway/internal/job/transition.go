package job

import (
	"errors"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrLeaseLost is returned when another gateway has taken over the job.
var ErrLeaseLost = errors.New("lease lost")

// New returns a job that is about to be stored. An image with an original starts as
// processing, with its Upload unsent. An image that has already ended, because its
// inline data was invalid, keeps its status. The others wait for their fetch.
func New(id string, images []Image, now time.Time) *Job {
	j := &Job{ID: id, Status: Pending, Total: len(images), Revision: 1, CreatedAt: now, UpdatedAt: now, Images: images}
	for i := range j.Images {
		img := &j.Images[i]
		img.Index, img.TraceID, img.Revision = i, pipeline.NewTraceID(id, i), j.Revision
		switch {
		case img.Status.Ended():
			img.StartTime, img.EndTime = now, now
			j.count(img)
		case img.Original.Stored():
			img.Status, img.StartTime, img.Unsent, img.Send = Processing, now, true, 1
		default:
			img.Status = Pending
			continue
		}
		j.Status = Processing
	}
	j.end(now)
	return j
}

// Transition changes one image and its job, which is passed without its other images. It
// returns false when there is nothing to change. It is a pure function, so a store may run it
// again. Stores run it through [Job.Apply].
type Transition func(j *Job, img *Image) (changed bool, err error)

// Apply applies a transition to one of the job's images. After a change, the job has its next
// revision, the image has the same one, and UpdatedAt is now or later; it never moves back.
// After an error the values of the job and the image are undefined.
func (j *Job) Apply(img *Image, t Transition, now time.Time) (changed bool, err error) {
	changed, err = t(j, img)
	if err != nil || !changed {
		return false, err
	}
	j.Revision++
	img.Revision = j.Revision
	j.UpdatedAt = latest(now, j.UpdatedAt)
	return true, nil
}

// Start starts the fetch of an image.
func Start(l Lease, now time.Time) Transition {
	return leased(l, func(j *Job, img *Image) bool {
		if img.Status != Pending {
			return false
		}
		img.Status, img.StartTime = Processing, now
		if j.Status == Pending {
			j.Status = Processing
		}
		return true
	})
}

// Fetched records the stored original of an image and marks its Upload unsent.
func Fetched(l Lease, o Original) Transition {
	return leased(l, func(_ *Job, img *Image) bool {
		if img.Original.Stored() {
			return false
		}
		img.Original, img.Unsent = o, true
		img.Send++
		return true
	})
}

// FetchFailed ends an image that could not be fetched.
func FetchFailed(l Lease, f *pipeline.Failure, now time.Time) Transition {
	return leased(l, func(j *Job, img *Image) bool {
		return j.settle(img, f.Result(pipeline.Envelope{}, now), now)
	})
}

// Settle ends an image with its result. An image that has ended is not changed.
func Settle(r pipeline.Result, now time.Time) Transition {
	return func(j *Job, img *Image) (bool, error) { return j.settle(img, r, now), nil }
}

// Cancel ends every open image as failed and the job as cancelled, all with one revision. It
// returns false when the job has already ended; images that have ended are not changed. Like a
// transition, it is pure.
func (j *Job) Cancel(now time.Time) (changed bool) {
	if j.Status.Ended() {
		return false
	}
	j.Revision++
	j.UpdatedAt = latest(now, j.UpdatedAt)
	j.Status, j.CompletedAt = Cancelled, j.UpdatedAt
	f := &pipeline.Failure{Code: pipeline.CodeCancelled, Text: "Cancelled", Retryable: true}
	for i := range j.Images {
		if img := &j.Images[i]; j.settle(img, f.Result(pipeline.Envelope{}, now), now) {
			img.Revision = j.Revision
		}
	}
	return true
}

// leased guards a transition of the job's intake: only the holder of the lease may apply it,
// and only to an open image.
func leased(l Lease, do func(*Job, *Image) bool) Transition {
	return func(j *Job, img *Image) (bool, error) {
		if j.Lease.Owner != l.Owner || j.Lease.Epoch != l.Epoch {
			return false, ErrLeaseLost
		}
		if img.Status.Ended() {
			return false, nil
		}
		return do(j, img), nil
	}
}

// settle ends an open image and, if it was the last one, the job.
func (j *Job) settle(img *Image, r pipeline.Result, now time.Time) bool {
	if img.Status.Ended() {
		return false
	}
	if img.StartTime.IsZero() {
		img.StartTime = now
	}
	img.EndTime, img.Unsent = latest(now, img.StartTime), false
	if r.Status == pipeline.Completed {
		img.Status, img.ProcessedPath, img.Headers = Completed, r.ProcessedPath, ""
		if _, ok := r.Appearance.Hash(); ok {
			img.Appearance = r.Appearance
		}
		if r.Uncaptioned && img.Captions == CaptionsUsual {
			img.Captions = CaptionsMissing
			j.Uncaptioned++
		}
	} else {
		img.Status, img.Error, img.ErrorCode, img.Retryable = Failed, r.Error, r.ErrorCode, r.Retryable
	}
	if j.Status == Pending {
		j.Status = Processing
	}
	j.count(img)
	j.end(now)
	return true
}

func (j *Job) count(img *Image) {
	if img.Status == Completed {
		j.Completed++
	} else {
		j.Failed++
	}
}

// end ends a job whose images have all ended: as completed if at least one image
// completed.
func (j *Job) end(now time.Time) {
	if j.Status.Ended() || j.Completed+j.Failed < j.Total {
		return
	}
	j.Status, j.CompletedAt = Failed, latest(now, j.UpdatedAt)
	if j.Completed > 0 {
		j.Status = Completed
	}
}

// latest returns the later time, so that a clock that was set back does not create an end
// before its start.
func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
