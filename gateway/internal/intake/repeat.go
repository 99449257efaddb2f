package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrNothingToRepeat is returned when none of the images has a stored original, a stored
// result or a URL.
var ErrNothingToRepeat = errors.New("no images to repeat")

// repeatTime limits the time to copy the images for one repetition.
const repeatTime = 2 * time.Minute

// MaxRecordBytes is the maximum size of a record that Repeat reads. Records have some kB.
const MaxRecordBytes = 4 << 20

// Repeat adds the images of an ended job with these indexes to the batch, in this order. It
// copies stored originals, so that each job owns its objects. If the storage has lost an
// original, Repeat copies the processed file, or lets the image be fetched again from its URL.
// An image that has none of them is left out: its bytes came with the request and were
// rejected, or the storage has lost them. Repeat returns the errors of Add,
// [ErrNothingToRepeat], or [job.ErrNotFound] when retention has deleted the job.
func (b *Batch) Repeat(ctx context.Context, source *job.Job, images []int) error {
	ctx, cancel := context.WithTimeout(ctx, repeatTime)
	defer cancel()
	b.retryOf, b.Owner = source.ID, source.Owner // the owner stays, even if an operator repeats the job
	b.Metadata = source.Metadata
	left := 0
	for _, i := range images {
		img := &source.Images[i]
		added, err := b.again(ctx, img)
		if err != nil {
			return fmt.Errorf("repeat image %d of job %s: %w", i, source.ID, err)
		}
		if !added && img.Original.Stored() {
			left++
		}
	}
	if left > 0 {
		// Objects are missing. Check whether retention is deleting the job right now.
		if _, err := b.in.deps.Jobs.Get(ctx, source.ID); err != nil {
			return fmt.Errorf("repeat job %s: %w", source.ID, err)
		}
	}
	if len(b.images) == 0 {
		return ErrNothingToRepeat
	}
	return nil
}

// again adds an image of another job. It returns false when the image has no stored object
// and no URL.
func (b *Batch) again(ctx context.Context, img *job.Image) (bool, error) {
	s := Source{Name: img.OriginalFilename, URL: img.URL, CustomID: img.CustomID}
	data, failure, err := b.in.stored(ctx, img)
	switch {
	case err != nil:
		return false, err
	case data != nil:
		s.Data, s.URL = data, ""
	case failure != nil:
		s.Failure = failure
	case img.URL == "":
		return false, nil
	}
	if err := b.Add(ctx, s); err != nil {
		return false, err
	}
	// A later repetition needs the URL and its headers if the storage has lost the copy by then.
	last := &b.images[len(b.images)-1]
	last.URL, last.Headers = img.URL, img.Headers
	if img.Captions == job.CaptionsOff {
		last.Captions, last.RemoveCaptions = job.CaptionsOff, img.RemoveCaptions
	}
	return true, nil
}

// stored reads the original of an image, or the processed file if the original is lost. It
// returns nil when both are.
func (in *Intake) stored(ctx context.Context, img *job.Image) ([]byte, *pipeline.Failure, error) {
	if !img.Original.Stored() {
		return nil, nil, nil
	}
	data, failure, err := in.copyOf(ctx, in.deps.Originals, img, img.Original)
	if data != nil || failure != nil || err != nil || img.ProcessedPath == "" {
		return data, failure, err
	}
	text, err := objectstore.ReadAll(ctx, in.deps.Processed, pipeline.RecordKey(img.ProcessedPath), MaxRecordBytes)
	if errors.Is(err, objectstore.ErrUnavailable) || ctx.Err() != nil {
		return nil, nil, fmt.Errorf("read record: %w", errors.Join(err, ctx.Err()))
	}
	var record struct {
		Processed struct {
			Size   int64  `json:"file_size"`
			SHA256 string `json:"sha256"`
		} `json:"processed"`
	}
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	if err != nil {
		in.deps.Log.WarnContext(ctx, "record is missing or invalid", "trace_id", img.TraceID, "error", err)
		return nil, nil, nil
	}
	return in.copyOf(ctx, in.deps.Processed, img, job.Original{Path: img.ProcessedPath, Size: record.Processed.Size, SHA256: record.Processed.SHA256})
}

// copyOf reads an object of an image. It returns nil when the object is gone or its bytes have
// changed, and the failure of an object that is larger than an image may be now.
func (in *Intake) copyOf(ctx context.Context, s objectstore.Store, img *job.Image, o job.Original) ([]byte, *pipeline.Failure, error) {
	if o.Size > in.config.MaxImageBytes {
		return nil, TooLarge(in.config.MaxImageBytes), nil
	}
	data, err := objectstore.ReadAll(ctx, s, o.Path, in.config.MaxImageBytes)
	switch {
	case errors.Is(err, objectstore.ErrUnavailable):
		return nil, nil, fmt.Errorf("read %s: %w", o.Path, err)
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case err == nil:
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) == o.SHA256 {
			return data, nil, nil
		}
		err = errors.New("SHA-256 does not match")
	}
	in.deps.Log.WarnContext(ctx, "object of an image is missing or has changed", "trace_id", img.TraceID, "object_key", o.Path, "error", err)
	return nil, nil, nil
}
