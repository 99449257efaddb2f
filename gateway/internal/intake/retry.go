package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// ErrNothingToRetry is returned when the job has no failed image with a stored original or
// a URL.
var ErrNothingToRetry = errors.New("no failed images to retry")

// retryTime limits the time to copy the originals for one retry.
const retryTime = 2 * time.Minute

// Retry adds the failed images of an ended job to the batch, in their order. It copies stored
// originals, so that each job owns its objects; an image without an original is fetched again
// from its URL. An image that has neither is left out: its bytes came with the request and
// were rejected, or the storage has lost them. Retry returns the errors of Add,
// [ErrNothingToRetry], or [job.ErrNotFound] when retention has deleted the job.
func (b *Batch) Retry(ctx context.Context, source *job.Job) error {
	ctx, cancel := context.WithTimeout(ctx, retryTime)
	defer cancel()
	b.retryOf, b.Owner = source.ID, source.Owner // the owner stays, even if an operator retries
	b.Metadata = source.Metadata
	left := 0
	for i := range source.Images {
		img := &source.Images[i]
		if img.Status != job.Failed {
			continue
		}
		added, err := b.again(ctx, img)
		if err != nil {
			return fmt.Errorf("retry image %d of job %s: %w", i, source.ID, err)
		}
		if !added && img.Original.Stored() {
			left++
		}
	}
	if left > 0 {
		// Originals are missing. Check whether retention is deleting the job right now.
		if _, err := b.in.deps.Jobs.Get(ctx, source.ID); err != nil {
			return fmt.Errorf("retry job %s: %w", source.ID, err)
		}
	}
	if len(b.images) == 0 {
		return ErrNothingToRetry
	}
	return nil
}

// again adds a failed image of another job. It returns false when the image has neither an
// original nor a URL.
func (b *Batch) again(ctx context.Context, img *job.Image) (bool, error) {
	s := Source{Name: img.OriginalFilename, URL: img.URL, CustomID: img.CustomID}
	switch {
	case !img.Original.Stored():
	case img.Original.Size > b.in.config.MaxImageBytes: // The limit was higher when it was stored.
		s.Failure = TooLarge(b.in.config.MaxImageBytes)
	default:
		data, err := b.in.original(ctx, img)
		if err != nil {
			return false, err
		}
		if data != nil {
			s.Data, s.URL = data, ""
		}
	}
	if s.Data == nil && s.URL == "" && s.Failure == nil {
		return false, nil
	}
	if err := b.Add(ctx, s); err != nil {
		return false, err
	}
	// A later retry needs the URL and its headers if the storage has lost the copy by then.
	last := &b.images[len(b.images)-1]
	last.URL, last.Headers = img.URL, img.Headers
	return true, nil
}

// original reads a stored original. It returns nil when the original is gone or its bytes
// have changed.
func (in *Intake) original(ctx context.Context, img *job.Image) ([]byte, error) {
	data, err := objectstore.ReadAll(ctx, in.deps.Originals, img.Original.Path, in.config.MaxImageBytes)
	switch {
	case errors.Is(err, objectstore.ErrUnavailable):
		return nil, fmt.Errorf("read original: %w", err)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil:
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) == img.Original.SHA256 {
			return data, nil
		}
		err = errors.New("SHA-256 does not match")
	}
	in.deps.Log.WarnContext(ctx, "original is missing or has changed", "trace_id", img.TraceID, "error", err)
	return nil, nil
}
