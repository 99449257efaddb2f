package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Source is one image as it stands in a request: a URL, or inline bytes, or
// inline bytes that are already known to be at fault.
type Source struct {
	URL     string
	Name    string // as the client gave it; may be empty
	Data    []byte // decoded; not used after Add has returned
	Failure *pipeline.Failure
}

// TooLarge is the failure of an image of more than limit bytes.
func TooLarge(limit int64) *pipeline.Failure { return download.TooLarge(limit) }

// CheckHost tells what is wrong with an entry of [Config].AllowHosts.
func CheckHost(pattern string) error { return download.CheckHost(pattern) }

// InvalidBase64 is the failure of inline data that is not base64.
func InvalidBase64() *pipeline.Failure {
	return &pipeline.Failure{Code: pipeline.CodeInvalidBase64, Text: "Invalid base64 data"}
}

// Batch is a job whose request is being read. It belongs to one goroutine.
type Batch struct {
	Fingerprint string // of the request, if it came with a key; set before Commit
	Owner       string // of the job, if it is anybody's; set before Commit

	in       *Intake
	id       string
	lease    job.Lease
	images   []job.Image
	retryOf  string
	reserved bool     // the job store may hold a reservation
	keys     []string // of originals that may be stored
	doubtful bool     // Create went wrong in a way that leaves open whether it was done
	over     bool     // committed or aborted
}

// Begin opens a batch. Its caller ends it with Commit, and with Abort when
// anything went wrong; an Abort after a Commit that returned nil does nothing.
func (in *Intake) Begin() *Batch {
	return &Batch{in: in, id: uuid.NewString(), lease: job.Lease{Owner: in.deps.Owner}}
}

// ID is the id that the job will have.
func (b *Batch) ID() string { return b.id }

// Hold reserves the batch under the client's key before anything of it is read.
// It fails with [job.ErrKeyTaken] when another job has the key.
func (b *Batch) Hold(ctx context.Context, k job.Key) error {
	if k.Name == "" {
		return nil
	}
	return b.reserve(ctx, k)
}

// Add takes the next image. Inline bytes are checked and durable when it returns
// nil; what is wrong with an image fails that image and is no error. An error wraps
// [job.ErrUnavailable] or [objectstore.ErrUnavailable], or is ctx's; the batch is
// to be aborted then.
func (b *Batch) Add(ctx context.Context, s Source) error {
	index := len(b.images)
	if index >= b.in.config.MaxBatchImages {
		return fmt.Errorf("add image %d: a batch has at most %d", index, b.in.config.MaxBatchImages)
	}
	img := job.Image{
		Index: index, TraceID: pipeline.NewTraceID(b.id, index),
		URL: strings.TrimSpace(s.URL), OriginalFilename: originalFilename(s.Name, s.URL, index),
	}
	img.KeyName = KeyName(img.OriginalFilename, "")
	failure, err := b.take(ctx, &img, s)
	if err != nil {
		b.endTrace(ctx, &img)
		return fmt.Errorf("add image %d: %w", index, err)
	}
	if failure != nil {
		img.Status, img.Error, img.ErrorCode, img.Retryable = job.Failed, failure.Text, failure.Code, failure.Retryable
		img.Original = job.Original{}
	}
	b.images = append(b.images, img)
	return nil
}

// take checks an image's source and stores what came inline. The failure is the
// image's own.
func (b *Batch) take(ctx context.Context, img *job.Image, s Source) (failure *pipeline.Failure, err error) {
	if failure = s.Failure; failure == nil && img.URL != "" {
		_, err := b.in.downloads.Check(img.URL)
		if failure, _ = errors.AsType[*pipeline.Failure](err); failure == nil {
			return nil, nil // Its intake is the fetch.
		}
	}
	ctx, span := b.in.traced(ctx, b.id, img.Index, img.TraceID, source(img))
	defer func() { endIntake(span, failure, err) }()
	if failure != nil {
		return failure, nil
	}
	var ext string
	if img.Original, ext, failure = b.in.inspect(s.Data); failure != nil {
		return failure, nil
	}
	img.KeyName = KeyName(img.OriginalFilename, ext)
	img.Original.Path = pipeline.OriginalKey(img.TraceID, img.KeyName)
	return nil, b.store(ctx, img.Original, s.Data)
}

// store puts an original, under the reservation that owns it until the job does.
func (b *Batch) store(ctx context.Context, o job.Original, data []byte) error {
	if err := b.reserve(ctx, job.Key{}); err != nil {
		return err
	}
	b.keys = append(b.keys, o.Path)
	if err := b.in.deps.Originals.Put(ctx, o.Path, data, o.ContentType); err != nil {
		return fmt.Errorf("store original: %w", err)
	}
	failpoint.Reach("inline image stored", o.Path)
	return nil
}

// reserve makes the reservation, if there is none yet.
func (b *Batch) reserve(ctx context.Context, k job.Key) error {
	if b.reserved {
		return nil
	}
	b.lease.Epoch, b.lease.Until = 1, b.in.deps.Now().Add(job.LeaseTime)
	b.reserved = true
	b.in.batches.Add(1)
	err := b.in.deps.Jobs.Reserve(ctx, b.id, b.lease, k)
	if errors.Is(err, job.ErrKeyTaken) { // So nothing was reserved.
		b.reserved = false
		b.in.batches.Add(-1)
	}
	if err != nil {
		return fmt.Errorf("reserve job %s: %w", b.id, err)
	}
	failpoint.Reach("batch reserved", b.id)
	return nil
}

// Bounds of what the end of the request does not end: the commit of a job, and
// the clearing away of one that was aborted, which goes on later if need be.
const (
	commitTime = 30 * time.Second
	abortTime  = 5 * time.Second
)

// Commit makes the job: it is durable, with all its images, when Commit returns
// nil. An error wraps [job.ErrUnavailable] or is another one of the store; the
// batch is to be aborted then, and the client may try again.
func (b *Batch) Commit(ctx context.Context) (*job.Job, error) {
	// A client that goes away now must not leave open whether its job exists.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	now := b.in.deps.Now()
	j := job.New(b.id, b.images, now)
	b.lease.Until = now.Add(job.LeaseTime)
	j.Lease, j.RetryOf, j.Fingerprint, j.Owner = b.lease, b.retryOf, b.Fingerprint, b.Owner
	j.Origin = b.in.deps.Traces.Origin(ctx)
	switch err := b.in.deps.Jobs.Create(ctx, j); {
	case errors.Is(err, job.ErrLeaseLost):
		// We stood still for so long that the reservation was cleared away. Another
		// try is all it takes.
		b.in.metrics.leaseLost.Inc()
		return nil, fmt.Errorf("create job %s: %w: %w", b.id, job.ErrUnavailable, err)
	case err != nil:
		b.doubtful = errors.Is(err, job.ErrUnavailable)
		return nil, fmt.Errorf("create job %s: %w", b.id, err)
	}
	failpoint.Reach("job created", b.id)
	b.end()
	b.in.committed(ctx, j)
	return j, nil
}

// Abort ends a batch that became no job and deletes what was stored for it, even
// when ctx has ended. What cannot be deleted now is deleted later.
func (b *Batch) Abort(ctx context.Context) {
	if b.over {
		return
	}
	b.endTraces(ctx)
	held := b.reserved || b.doubtful
	b.end()
	if held {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
		b.in.clearOrKeep(ctx, leftover{id: b.id, lease: b.lease, keys: b.keys, doubtful: b.doubtful})
	}
}

func (b *Batch) end() {
	if b.reserved && !b.over {
		b.in.batches.Add(-1)
	}
	b.over = true
}

// committed sets a new job's work going.
func (in *Intake) committed(ctx context.Context, j *job.Job) {
	in.admission.add(j.Total - j.Completed - j.Failed)
	in.activity.Add(1)
	in.wakeRelay()
	in.schedule.add(j)
	in.changed(ctx, j)
}

// inspect checks the bytes of an image and describes them as an original without
// its path; ext is the extension that goes with them.
func (in *Intake) inspect(data []byte) (o job.Original, ext string, failure *pipeline.Failure) {
	if int64(len(data)) > in.config.MaxImageBytes {
		return job.Original{}, "", TooLarge(in.config.MaxImageBytes)
	}
	// The bytes are a stranger's. One that finds a fault in the reader must not
	// take the jobs of the others down, again at every start.
	defer func() {
		if p := recover(); p != nil {
			failure = &pipeline.Failure{
				Code: pipeline.CodeDamaged, Text: "Damaged image",
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
			in.deps.Log.Error("reading an image header went wrong", "error", failure.Err)
		}
	}()
	h, err := imagefile.Read(data, in.config.Limits)
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		return job.Original{}, "", f
	}
	if err != nil {
		return job.Original{}, "", &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image", Err: err}
	}
	sum := sha256.Sum256(data)
	return job.Original{ContentType: h.ContentType(), Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, h.Extension(), nil
}
