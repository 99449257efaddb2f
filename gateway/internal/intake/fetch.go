package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// errNothingToFetch ends the fetch of an image that has ended, or of a job that another gateway
// owns.
var errNothingToFetch = errors.New("nothing left to fetch")

// errCancelled is an errNothingToFetch for all images of the job. It is how a gateway that did
// not receive the cancellation itself learns about it.
var errCancelled = fmt.Errorf("%w: job was cancelled", errNothingToFetch)

// maxLogBytes limits the text from untrusted clients in a log line.
const maxLogBytes = 256

// fetchAll runs the fetches that the schedule starts, until ctx is done.
func (in *Intake) fetchAll(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for ctx.Err() == nil {
		t, at := in.schedule.next()
		if t != nil {
			wg.Go(func() { in.fetch(ctx, t) })
			continue
		}
		var due <-chan time.Time
		if !at.IsZero() {
			alarm.Reset(time.Until(at))
			due = alarm.C
		}
		select {
		case <-in.schedule.wake:
		case <-due:
		case <-ctx.Done():
		}
	}
}

// fetch does one task and reports its end to the schedule.
func (in *Intake) fetch(ctx context.Context, t *task) {
	defer in.schedule.done(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in.schedule.started(t, cancel)
	start := time.Now()
	ctx, span := in.traced(in.deps.Traces.From(ctx, t.job.origin), t.job.id, t.index, t.trace, "url")
	err := in.fetchImage(ctx, t)
	if limited, ok := errors.AsType[*download.LimitedError](err); ok {
		in.schedule.postpone(t, limited.Host, limited.Status)
		in.metrics.fetches.Inc("postponed")
		endIntake(span, nil, nil)
		return
	}
	f, failed := errors.AsType[*pipeline.Failure](err)
	defer func() { endIntake(span, f, err) }()
	if failed {
		err = in.endImage(ctx, t, f)
	}
	switch {
	case ctx.Err() != nil:
		in.metrics.fetches.Inc("given_up")
		return
	case lost(err):
		in.metrics.fetches.Inc("lease_lost")
		in.metrics.leaseLost.Inc()
		in.schedule.drop(t.job)
		in.deps.Log.WarnContext(ctx, "job was taken over by another gateway or deleted", "job_id", t.job.id, "error", err)
		return
	case errors.Is(err, errNothingToFetch):
		in.metrics.fetches.Inc("not_needed")
		if errors.Is(err, errCancelled) {
			in.schedule.stop(t.job.id)
		}
		return
	case failed:
		in.metrics.fetches.Inc(f.Code)
		in.deps.Log.InfoContext(ctx, "image not fetched", "job_id", t.job.id, "trace_id", t.trace, "index", t.index, "error", cut(f.Error(), maxLogBytes))
	default:
		in.metrics.fetches.Inc("ok")
	}
	in.metrics.fetchTime.Observe(time.Since(start).Seconds())
}

// fetchImage downloads one image and stores its original. An error that is a
// [*pipeline.Failure] ends the image.
func (in *Intake) fetchImage(ctx context.Context, t *task) error {
	ref := job.Ref{JobID: t.job.id, Index: t.index}
	img, err := in.startAndDownload(ctx, t)
	if err != nil {
		return err
	}
	defer img.Release()
	original, ext, failure := in.inspect(img.Data)
	if failure != nil {
		return failure
	}
	original.Path = pipeline.OriginalKey(t.trace, KeyName(t.name, ext))
	if err := in.putOriginal(ctx, original, img.Data); err != nil {
		return err
	}
	failpoint.Reach("fetched image stored", original.Path)
	fetched, err := in.change(ctx, ref, job.Fetched(t.job.lease, original), in.deps.Now())
	switch {
	case errors.Is(err, job.ErrNotFound):
		return errors.Join(err, in.deleteOrphan(ctx, original.Path))
	case err != nil:
		return err
	case !fetched:
		return in.superfluous(ctx, t, original.Path)
	}
	failpoint.Reach("fetched image noted", original.Path)
	in.wakeRelay()
	return nil
}

// startAndDownload records the start of the fetch and downloads the image. At the first attempt it
// does both concurrently, so that the place on the host is not occupied while the job store commits.
func (in *Intake) startAndDownload(ctx context.Context, t *task) (*download.Image, error) {
	if t.failed != nil || t.url == "" || t.times > 0 {
		if err := in.begin(ctx, t); err != nil {
			return nil, err
		}
		if t.failed != nil {
			return nil, t.failed
		}
		return in.download(ctx, t, t.url, t.headers)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var begun error
	var starting sync.WaitGroup
	url, headers := t.url, t.headers
	starting.Go(func() {
		if begun = in.begin(ctx, t); begun != nil {
			cancel()
		}
	})
	img, err := in.download(ctx, t, url, headers)
	starting.Wait()
	if begun != nil {
		if img != nil {
			img.Release()
		}
		return nil, begun
	}
	return img, err
}

// begin records the start of the fetch, and returns an error if the image must not be fetched.
func (in *Intake) begin(ctx context.Context, t *task) error {
	now := in.deps.Now()
	started, err := in.change(ctx, job.Ref{JobID: t.job.id, Index: t.index}, job.Start(t.job.lease, now), now)
	if err != nil || t.failed != nil {
		return err
	}
	failpoint.Reach("fetch begun", t.name)
	if started && t.url != "" {
		return nil
	}
	// The fetch was started before, the image has ended, or its URL is not in memory.
	return in.lookUp(ctx, t)
}

// lookUp reads the image again and returns an error if it must not be fetched.
func (in *Intake) lookUp(ctx context.Context, t *task) error {
	img, err := in.image(ctx, t)
	if err != nil {
		return err
	}
	if !img.ToFetch() {
		return notToFetch(img)
	}
	t.url, t.headers, t.name = img.URL, img.Headers, img.OriginalFilename
	return nil
}

func (in *Intake) image(ctx context.Context, t *task) (*job.Image, error) {
	var j *job.Job
	err := in.until(ctx, "job store", storeRetryable, func() (err error) {
		j, err = in.deps.Jobs.Get(ctx, t.job.id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get job %s: %w", t.job.id, err)
	}
	if t.index >= len(j.Images) {
		return nil, fmt.Errorf("image %d of job %s: %w", t.index, t.job.id, job.ErrNotFound)
	}
	return &j.Images[t.index], nil
}

// download downloads the image. It tries again until there is memory for it. It returns a
// [*download.LimitedError] if the image must wait for its host.
func (in *Intake) download(ctx context.Context, t *task, url string, headers job.Headers) (*download.Image, error) {
	var img *download.Image
	busy := func(err error) bool { return errors.Is(err, download.ErrBusy) }
	err := in.until(ctx, "download memory", busy, func() (err error) {
		ctx, span := in.downloading(ctx, url)
		img, err = in.downloads.Get(ctx, t.job.id, url, t.lane.host.key, headers.Fields())
		endDownload(span, err)
		return err
	})
	in.schedule.downloaded(t, !download.TimedOut(err))
	return img, err
}

// putOriginal stores the original. It waits out any outage of the storage.
func (in *Intake) putOriginal(ctx context.Context, o job.Original, data []byte) error {
	retryable := func(err error) bool { return errors.Is(err, objectstore.ErrUnavailable) }
	err := in.until(ctx, "store of originals", retryable, func() error {
		return in.deps.Originals.Put(ctx, o.Path, objectstore.Content{Data: data, Type: o.ContentType, SHA256: o.SHA256})
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The storage rejects the object. That is our own bug, which waiting does not fix.
	return &pipeline.Failure{
		Code: pipeline.CodeProcessingFailed, Text: "Image could not be processed",
		Retryable: true, Err: fmt.Errorf("store original %s: %w", o.Path, err),
	}
}

// superfluous handles an original that the job did not accept. Either the job already has
// it, because an earlier change was applied although it seemed to fail, or the image has
// ended in the meantime.
func (in *Intake) superfluous(ctx context.Context, t *task, key string) error {
	img, err := in.image(ctx, t)
	switch {
	case errors.Is(err, job.ErrNotFound):
		return errors.Join(err, in.deleteOrphan(ctx, key))
	case err != nil:
		return err
	case img.Original.Path == key:
		in.wakeRelay()
		return nil
	default:
		return errors.Join(notToFetch(img), in.deleteOrphan(ctx, key))
	}
}

// notToFetch returns the reason why an image must not be fetched.
func notToFetch(img *job.Image) error {
	if img.ErrorCode == pipeline.CodeCancelled {
		return errCancelled
	}
	return errNothingToFetch
}

// deleteOrphan deletes an original that belongs to no image. If the storage refuses that,
// retention tries again: a fetch that waited would take the place of another one.
func (in *Intake) deleteOrphan(ctx context.Context, key string) error {
	retryable := func(err error) bool {
		return errors.Is(err, objectstore.ErrUnavailable) && !errors.Is(err, objectstore.ErrRefused)
	}
	return in.until(ctx, "store of originals", retryable, func() error { return in.deps.Originals.Delete(ctx, key) })
}

// endImage ends an image that could not be fetched.
func (in *Intake) endImage(ctx context.Context, t *task, f *pipeline.Failure) error {
	now := in.deps.Now()
	_, err := in.change(ctx, job.Ref{JobID: t.job.id, Index: t.index}, job.FetchFailed(t.job.lease, f, now), now)
	return err
}
