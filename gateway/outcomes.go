package gateway

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// outcomes is the job store with metrics of what is accepted and how it ends, and with
// the root spans of ended images. Every end of an image and of a job is one write to it,
// and is counted once. A write that succeeded although the database's response was lost
// is not counted.
type outcomes struct {
	*sqlstore.Store
	now    func() time.Time
	traces *telemetry.Tracer // may be nil
	ended  func()            // called after every commit that has ended a job

	accepted, received *telemetry.Counter // images and their bytes
	jobs, images       *telemetry.Counter // ended
	jobTime, imageTime *telemetry.Histogram

	mu     sync.Mutex // guards oldest
	oldest time.Time  // start of the oldest unsent image at the last query, or zero
}

func newOutcomes(jobs *sqlstore.Store, m *telemetry.Registry, traces *telemetry.Tracer, now func() time.Time) *outcomes {
	buckets := []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400}
	o := &outcomes{
		Store: jobs, now: now, traces: traces, ended: func() {},
		accepted:  m.Counter("images_accepted_total", "Images of created jobs, by source: inline or url.", "source").From0("inline", "url"),
		received:  m.Counter("original_bytes_total", "Bytes of stored originals, by source: inline or url.", "source").From0("inline", "url"),
		jobs:      m.Counter("jobs_ended_total", "Ended jobs, by status.", "status").From0(string(job.Completed), string(job.Failed), string(job.Cancelled)),
		images:    m.Counter("images_ended_total", "Ended images, by status and, for failed images, error code.", "status", "code"),
		jobTime:   m.Histogram("job_duration_seconds", "Time from the creation of a job to its end, by status.", buckets, "status"),
		imageTime: m.Histogram("image_duration_seconds", "Time from the creation of an image's job to the end of the image, by status.", buckets, "status"),
	}
	m.GaugeFunc("oldest_unsent_upload_age_seconds", "Age of the oldest image whose Upload message is not yet published; 0 if there is none.", o.age)
	// A first failure is an increase only when there was a 0 before it.
	o.images.Add(0, string(job.Completed), "")
	for _, code := range codes {
		o.images.Add(0, string(job.Failed), code)
	}
	return o
}

// codes are the known error codes. A message may carry any other.
var codes = []string{
	pipeline.CodeInvalidBase64, pipeline.CodeInvalidName, pipeline.CodeTooLarge, pipeline.CodeNotAnImage, pipeline.CodeUnsupportedFormat, pipeline.CodeDamaged,
	pipeline.CodeTooManyPixels, pipeline.CodeDownloadFailed, pipeline.CodeURLNotAllowed, pipeline.CodeOriginalLost,
	pipeline.CodeProcessingFailed, pipeline.CodeCancelled,
}

func (o *outcomes) imageEnded(ctx context.Context, j *job.Job, img *job.Image) {
	code := img.ErrorCode
	if code != "" && !slices.Contains(codes, code) {
		code = "other"
	}
	o.images.Inc(string(img.Status), code)
	o.imageTime.Observe(max(0, img.EndTime.Sub(j.CreatedAt).Seconds()), string(img.Status))
	o.traces.Ended(ctx, telemetry.ImageEnd{
		Image: img.TraceID, JobID: j.ID, Index: img.Index, Source: source(img), Bytes: img.Original.Size,
		Code: img.ErrorCode, Text: img.Error, Origin: j.Origin, Created: j.CreatedAt, Ended: img.EndTime,
	})
}

// source returns the source of an image as a label value.
func source(img *job.Image) string {
	if img.URL != "" {
		return "url"
	}
	return "inline"
}

func (o *outcomes) jobEnded(j *job.Job) {
	o.jobs.Inc(string(j.Status))
	o.jobTime.Observe(max(0, j.CompletedAt.Sub(j.CreatedAt).Seconds()), string(j.Status))
	o.ended()
}

// Create stores the job and counts what it accepts.
func (o *outcomes) Create(ctx context.Context, j *job.Job) error {
	if err := o.Store.Create(ctx, j); err != nil {
		return err
	}
	for i := range j.Images {
		img := &j.Images[i]
		o.accepted.Inc(source(img))
		o.received.Add(float64(img.Original.Size), source(img))
		if img.Status.Ended() {
			o.imageEnded(ctx, j, img)
		}
	}
	if j.Status.Ended() {
		o.jobEnded(j)
	}
	return nil
}

// Change applies the transition and counts what it ends. The store may apply a transition more than once before
// it succeeds; the last result counts.
func (o *outcomes) Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error) {
	var before, after job.Image
	j, changed, err := o.Store.Change(ctx, ref, func(j *job.Job, img *job.Image) (bool, error) {
		before = *img
		changed, err := t(j, img)
		after = *img
		return changed, err
	}, now)
	if err != nil || !changed {
		return j, changed, err
	}
	if after.Original.Stored() && !before.Original.Stored() {
		o.received.Add(float64(after.Original.Size), "url")
	}
	if after.Status.Ended() {
		o.imageEnded(ctx, j, &after)
		if j.Status.Ended() { // this image was the last one
			o.jobEnded(j)
		}
	}
	return j, changed, nil
}

// Cancel cancels the job and counts what it ends.
func (o *outcomes) Cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error) {
	j, changed, err := o.Store.Cancel(ctx, id, now)
	if err != nil || !changed {
		return j, changed, err
	}
	for i := range j.Images {
		if j.Images[i].ErrorCode == pipeline.CodeCancelled {
			o.imageEnded(ctx, j, &j.Images[i])
		}
	}
	o.jobEnded(j)
	return j, changed, nil
}

// Unsent returns images to publish and remembers the start of the oldest. The intake calls it every few seconds,
// and whenever there is something to publish.
func (o *outcomes) Unsent(ctx context.Context, limit int) ([]job.Unsent, error) {
	unsent, err := o.Store.Unsent(ctx, limit)
	if err != nil {
		return nil, err
	}
	var oldest time.Time
	for i := range unsent {
		if started := unsent[i].Image.StartTime; oldest.IsZero() || started.Before(oldest) {
			oldest = started
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.oldest = oldest
	return unsent, nil
}

func (o *outcomes) age() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest.IsZero() {
		return 0
	}
	return max(0, o.now().Sub(o.oldest).Seconds())
}
