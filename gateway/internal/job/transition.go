package job

import (
	"errors"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrLeaseLost says that another gateway has taken the job over.
var ErrLeaseLost = errors.New("lease lost")

// New makes a job that is about to be stored. An image that has its original is
// processing from now on and its Upload is unsent; one that has ended (its
// inline data was no image) stays so; the others wait for their fetch.
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

// Transition changes one image and its job, given without its other images. It
// returns false when there is nothing to change. It is pure: a store may run it
// again. Stores run it through [Job.Apply].
type Transition func(j *Job, img *Image) (changed bool, err error)

// Apply makes the transition of one of the job's images. When it changed
// something, the job gets its next revision, the image the same one, and the
// job's UpdatedAt moves to now, never back. After an error the values of both are
// not to be used.
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

// Start begins the fetch of an image.
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

// Fetched notes the stored original of an image, whose Upload is now unsent.
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

// Settle ends an image with its result. An image that has ended stays as it is.
func Settle(r pipeline.Result, now time.Time) Transition {
	return func(j *Job, img *Image) (bool, error) { return j.settle(img, r, now), nil }
}

// Cancel ends every open image as failed and the job as cancelled, all with one
// revision. It returns false when the job has ended; images that have ended stay
// as they are. It is pure, as transitions are.
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

// leased guards a transition of the job's intake: only the holder of the lease
// makes it, and only on an open image.
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

// settle ends an open image and, with the last one, the job.
func (j *Job) settle(img *Image, r pipeline.Result, now time.Time) bool {
	if img.Status.Ended() {
		return false
	}
	if img.StartTime.IsZero() {
		img.StartTime = now
	}
	img.EndTime, img.Unsent = latest(now, img.StartTime), false
	if r.Status == pipeline.Completed {
		img.Status, img.ProcessedPath = Completed, r.ProcessedPath
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

// end closes a job whose images have all ended: completed when at least one
// did complete.
func (j *Job) end(now time.Time) {
	if j.Status.Ended() || j.Completed+j.Failed < j.Total {
		return
	}
	j.Status, j.CompletedAt = Failed, latest(now, j.UpdatedAt)
	if j.Completed > 0 {
		j.Status = Completed
	}
}

// latest keeps a clock that was set back from making an end come before its
// beginning.
func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
