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
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Source is one image of a request: a URL, inline bytes, or inline bytes that were
// already found to be invalid.
type Source struct {
	URL     string
	Name    string            // as sent by the client; may be empty
	Headers map[string]string // to be sent to the URL

	CustomID string // what the client calls the image, within the limits of package job; may be empty
	Data     []byte // decoded; not used after Add has returned
	Failure  *pipeline.Failure
}

// TooLarge returns the failure of an image of more than limit bytes.
func TooLarge(limit int64) *pipeline.Failure { return download.TooLarge(limit) }

// CheckHost returns an error if pattern is not a valid entry of [Config].AllowHosts.
func CheckHost(pattern string) error { return download.CheckHost(pattern) }

// Limits of the header fields of one image.
const (
	MaxHeaders     = download.MaxHeaders
	MaxHeaderBytes = download.MaxHeaderBytes
)

// InvalidHeaders returns the failure of an image whose header fields must not be sent.
func InvalidHeaders() *pipeline.Failure { return download.InvalidHeaders() }

// InvalidBase64 returns the failure of inline data that is not base64.
func InvalidBase64() *pipeline.Failure {
	return &pipeline.Failure{Code: pipeline.CodeInvalidBase64, Text: "Invalid base64 data"}
}

// LongURL returns the failure of an image whose URL has more than limit bytes.
func LongURL(limit int) *pipeline.Failure {
	return &pipeline.Failure{Code: pipeline.CodeURLNotAllowed, Text: fmt.Sprintf("Invalid URL: it is longer than %d bytes", limit)}
}

// LongName returns the failure of an image whose name has more than limit bytes.
func LongName(limit int) *pipeline.Failure {
	return &pipeline.Failure{Code: pipeline.CodeInvalidName, Text: fmt.Sprintf("Name is longer than %d bytes", limit)}
}

// Batch is a job whose request is being read. It is not safe for concurrent use.
type Batch struct {
	Fingerprint string // fingerprint of the request, if it has a key; set before Commit
	Owner       string // owner of the job, if any; set before Commit

	Metadata map[string]string // of the job, within the limits of package job; set before Commit
	Captions *bool             // whether a vision model may see the images; nil: if one may see them already; set before Commit
	Warnings []string          // about the request; set before Commit

	RemoveCaptions *bool // whether a model's words get into no result; nil: as in the repeated job; set before Commit

	in        *Intake
	ahead     ahead
	id        string
	lease     job.Lease
	images    []job.Image
	retryOf   string
	reserved  bool     // the job store may hold a reservation
	keys      []string // keys of originals that may be stored
	uncertain bool     // Create failed, but may have been applied
	over      bool     // committed or aborted
}

// Begin opens a batch. The caller ends it with Commit, or with Abort after any error. An
// Abort after a successful Commit does nothing.
func (in *Intake) Begin() *Batch {
	return &Batch{in: in, id: uuid.NewString(), lease: job.Lease{Owner: in.deps.Owner}}
}

// ID returns the ID of the future job.
func (b *Batch) ID() string { return b.id }

// Hold reserves the batch under the client's key before its content is read.
// It fails with [job.ErrKeyTaken] when another job has the key.
func (b *Batch) Hold(ctx context.Context, k job.Key) error {
	if k.Name == "" {
		return nil
	}
	return b.reserve(ctx, k)
}

// Add adds the next image. When it returns nil, inline bytes are checked and durable, or will be (see Ahead). An
// invalid image fails that image and is not an error. An error wraps [job.ErrUnavailable] or
// [objectstore.ErrUnavailable], or is ctx's, and may be about an earlier image; the caller must then abort the batch.
func (b *Batch) Add(ctx context.Context, s Source) error {
	index := len(b.images)
	if index >= b.in.config.MaxBatchImages {
		return fmt.Errorf("add image %d: a batch has at most %d", index, b.in.config.MaxBatchImages)
	}
	if err := b.ahead.failure(); err != nil {
		return err
	}
	img := job.Image{
		Index: index, TraceID: pipeline.NewTraceID(b.id, index),
		URL: strings.TrimSpace(s.URL), OriginalFilename: originalFilename(s.Name, s.URL, index),
		CustomID: s.CustomID,
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

// take checks an image's source and stores inline bytes, under the reservation that owns them until the
// job does. The failure belongs to this image only.
func (b *Batch) take(ctx context.Context, img *job.Image, s Source) (failure *pipeline.Failure, err error) {
	if failure = s.Failure; failure == nil && img.URL != "" {
		_, err := b.in.downloads.Check(img.URL)
		if err == nil {
			_, err = b.in.downloads.CheckHeaders(s.Headers)
		}
		if failure, _ = errors.AsType[*pipeline.Failure](err); failure == nil {
			img.Headers = job.NewHeaders(s.Headers)
			return nil, nil // The fetch does the intake of a URL.
		}
	}
	ctx, span := b.in.traced(ctx, b.id, img.Index, img.TraceID, source(img))
	var ext string
	if failure == nil {
		img.Original, ext, failure = b.in.inspect(s.Data)
	}
	if failure != nil {
		endIntake(span, failure, nil)
		return failure, nil
	}
	img.KeyName = KeyName(img.OriginalFilename, ext)
	img.Original.Path = pipeline.OriginalKey(img.TraceID, img.KeyName)
	if err := b.reserve(ctx, job.Key{}); err != nil {
		endIntake(span, nil, err)
		return nil, err
	}
	b.keys = append(b.keys, img.Original.Path)
	o := img.Original
	return nil, b.ahead.run(ctx, s.Data, func(ctx context.Context, data []byte) error {
		err := b.in.deps.Originals.Put(ctx, o.Path, objectstore.Content{Data: data, Type: o.ContentType, SHA256: o.SHA256})
		endIntake(span, nil, err)
		if err != nil {
			err = fmt.Errorf("store original: %w", err)
			b.ahead.fail(err)
			return err
		}
		failpoint.Reach("inline image stored", o.Path)
		return nil
	})
}

// reserve stores the reservation, unless it exists already.
func (b *Batch) reserve(ctx context.Context, k job.Key) error {
	if b.reserved {
		return nil
	}
	b.lease.Epoch, b.lease.Until = 1, b.in.deps.Now().Add(job.LeaseTime)
	b.reserved = true
	b.in.batches.Add(1)
	err := b.in.deps.Jobs.Reserve(ctx, b.id, b.lease, k)
	if errors.Is(err, job.ErrKeyTaken) { // Nothing was reserved.
		b.reserved = false
		b.in.batches.Add(-1)
	}
	if err != nil {
		return fmt.Errorf("reserve job %s: %w", b.id, err)
	}
	failpoint.Reach("batch reserved", b.id)
	return nil
}

// Time limits of work that continues after the request has ended: the commit of a job, and
// the cleanup after an abort, which is continued later if necessary.
const (
	commitTime = 30 * time.Second
	abortTime  = 5 * time.Second
)

// Commit creates the job. When it returns nil, the job is durable with all its images. An
// error wraps [job.ErrUnavailable] or is another error of the store; the caller must then abort
// the batch, and the client may try again.
func (b *Batch) Commit(ctx context.Context) (*job.Job, error) {
	// If the client disconnects now, the job must still be committed or not at all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	if err := b.ahead.wait(); err != nil {
		return nil, err
	}
	now := b.in.deps.Now()
	if b.Captions != nil {
		captions := job.CaptionsUsual
		if !*b.Captions {
			captions = job.CaptionsOff
		}
		for i := range b.images {
			b.images[i].Captions = captions
		}
	}
	if b.RemoveCaptions != nil {
		for i := range b.images {
			if b.images[i].RemoveCaptions = *b.RemoveCaptions; *b.RemoveCaptions {
				b.images[i].Captions = job.CaptionsOff
			}
		}
	}
	j := job.New(b.id, b.images, now)
	b.lease.Until = now.Add(job.LeaseTime)
	j.Lease, j.RetryOf, j.Fingerprint, j.Owner = b.lease, b.retryOf, b.Fingerprint, b.Owner
	j.Metadata, j.Warnings = b.Metadata, b.Warnings
	j.Origin = b.in.deps.Traces.Origin(ctx)
	switch err := b.in.deps.Jobs.Create(ctx, j); {
	case errors.Is(err, job.ErrLeaseLost):
		// This process was suspended for so long that the reservation was deleted. The client can
		// simply try again.
		b.in.metrics.leaseLost.Inc()
		return nil, fmt.Errorf("create job %s: %w: %w", b.id, job.ErrUnavailable, err)
	case err != nil:
		b.uncertain = errors.Is(err, job.ErrUnavailable)
		return nil, fmt.Errorf("create job %s: %w", b.id, err)
	}
	failpoint.Reach("job created", b.id)
	b.end()
	b.in.committed(ctx, j)
	return j, nil
}

// Abort ends a batch that did not become a job and deletes its stored objects, even when ctx
// is done. Objects that cannot be deleted now are deleted later.
func (b *Batch) Abort(ctx context.Context) {
	if b.over {
		return
	}
	b.ahead.abandon()
	b.endTraces(ctx)
	held := b.reserved || b.uncertain
	b.end()
	if held {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
		b.in.clearOrKeep(ctx, leftover{id: b.id, lease: b.lease, keys: b.keys, uncertain: b.uncertain, doubtful: b.ahead.failure() != nil})
	}
}

func (b *Batch) end() {
	if b.reserved && !b.over {
		b.in.batches.Add(-1)
	}
	b.over = true
}

// committed starts the work of a new job.
func (in *Intake) committed(ctx context.Context, j *job.Job) {
	in.admission.add(j.Total - j.Completed - j.Failed)
	in.activity.Add(1)
	in.wakeRelay()
	in.schedule.add(j)
	in.changed(ctx, j)
}

// inspect checks the bytes of an image and returns them described as an original, without its
// path. ext is the file extension of the detected format.
func (in *Intake) inspect(data []byte) (o job.Original, ext string, failure *pipeline.Failure) {
	if int64(len(data)) > in.config.MaxImageBytes {
		return job.Original{}, "", TooLarge(in.config.MaxImageBytes)
	}
	// The bytes come from an untrusted client. If they trigger a bug in the decoder, the panic
	// must not take down other clients' jobs, again at every start.
	defer func() {
		if p := recover(); p != nil {
			failure = &pipeline.Failure{
				Code: pipeline.CodeDamaged, Text: "Damaged image",
				Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack()),
			}
			in.deps.Log.Error("panic while reading an image header", "error", failure.Err)
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
