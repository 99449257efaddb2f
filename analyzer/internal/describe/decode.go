package describe

import (
	"context"
	"errors"
	"fmt"
	"image"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledpng"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// uprightCopy decodes the image at the smallest sufficient scale. It returns the working copy, with the
// orientation applied, and how much of the entropy-coded data the decoding checked. It converts CMYK by colors
// and leaves other samples as they are. The decoded pixels are charged to the budget from before their
// allocation until the copy exists.
func (d *Describer) uprightCopy(ctx context.Context, data []byte, h imagefile.Header, colors conversion) (*image.NRGBA, scaledjpeg.Checked, error) {
	scale := decodeScale(h, d.side)
	need := min(decodedBytes(h, scale, d.side), d.budget)
	if err := d.reserve(ctx, need); err != nil {
		return nil, "", fmt.Errorf("wait for memory to decode: %w", err)
	}
	defer d.pixels.Release(need)
	d.held.Add(float64(need))
	defer d.held.Add(-float64(need))

	img, checked, err := d.decodeSmall(ctx, data, h, scale, colors)
	if need >= d.budget/largeShare {
		// The share is passed to the next image, but the garbage collector would wait until as much memory
		// again has been allocated. A collection costs little compared with decoding so many pixels.
		runtime.GC()
	}
	return img, checked, err
}

// reserve takes a share of the budget. It waits for at most half of ctx's time: an image that started to decode
// with hardly any time left would fail because other images were decoded first.
func (d *Describer) reserve(ctx context.Context, share int64) error {
	started := time.Now()
	defer func() { d.waited.Observe(time.Since(started).Seconds()) }()
	waiting := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		waiting, cancel = context.WithDeadline(ctx, started.Add(deadline.Sub(started)/2))
		defer cancel()
	}
	err := d.pixels.Acquire(waiting, share)
	if err != nil && ctx.Err() == nil {
		return ErrNoRoom
	}
	return err
}

// largeShare is the part of the budget, 1/largeShare, from which on an image's pixels are garbage-collected
// before their share is released.
const largeShare = 8

// decodeScale returns the largest scale of [scaledjpeg.Decode] at which the image is still as long as side, or 1.
func decodeScale(h imagefile.Header, side int) int {
	if h.Format != imagefile.JPEG {
		return 1
	}
	for _, scale := range [...]int{8, 4, 2} {
		if scaled(max(h.Width, h.Height), scale) >= side {
			return scale
		}
	}
	return 1
}

// scaled returns the length in pixels of a side of n at a scale.
func scaled(n, scale int) int { return (n + scale - 1) / scale }

// decodedBytes returns the maximum memory for decoding at a scale: a fraction of the samples and coefficients
// of the full size, plus tables and a buffer.
func decodedBytes(h imagefile.Header, by, side int) int64 {
	if h.Format == imagefile.PNG {
		width, height := scale.Fit(h.Width, h.Height, side)
		return scaledpng.Memory(h.Width, h.Height, width, height)
	}
	if by == 1 {
		return h.DecodedBytes()
	}
	const tables = 128 << 10
	n := h.DecodedBytes() / int64(by*by)
	if h.Unterminated {
		n *= 3 // All scans are decoded, which takes more memory at 1/8.
	}
	return n + tables
}

// decodeSmall decodes the image and returns its working copy. When it returns, the decoded pixels are no longer
// referenced.
func (d *Describer) decodeSmall(ctx context.Context, data []byte, h imagefile.Header, by int, colors conversion) (*image.NRGBA, scaledjpeg.Checked, error) {
	started := time.Now()
	decoded, checked, err := d.decode(ctx, data, h, by)
	d.took.Observe(time.Since(started).Seconds(), h.Format.Name, strconv.Itoa(by))
	if ctx.Err() != nil {
		return nil, "", fmt.Errorf("decode %s: %w", h.Format, ctx.Err())
	}
	if err != nil {
		return nil, "", decodeFailure(h, err)
	}
	width, height := scale.Fit(h.Width, h.Height, d.side)
	if small, ok := decoded.(*image.NRGBA); ok && h.Format == imagefile.PNG && small.Rect.Size() == image.Pt(width, height) {
		return scale.Upright(small, h.Orientation), checked, nil // decoded and reduced in one pass
	}
	want := image.Pt(scaled(h.Width, by), scaled(h.Height, by))
	if size := decoded.Bounds().Size(); size != want {
		return nil, "", decodeFailure(h, fmt.Errorf("decoded at 1/%d to %v, the header says %d×%d", by, size, h.Width, h.Height))
	}
	reduce := scale.Reduce
	if by > 1 {
		reduce = scale.ReduceScaled
	}
	return scale.Upright(reduce(decoded, width, height, colors.inks), h.Orientation), checked, nil
}

// decodeTo returns a function that decodes an image: a JPEG at a scale, a PNG to a long side of at most side.
func decodeTo(side int) func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error) {
	return func(ctx context.Context, data []byte, h imagefile.Header, by int) (image.Image, scaledjpeg.Checked, error) {
		if h.Format == imagefile.PNG {
			width, height := scale.Fit(h.Width, h.Height, side)
			m, err := scaledpng.Decode(ctx, data, width, height)
			return m, scaledjpeg.Full, err
		}
		return scaledjpeg.Decode(ctx, data, by)
	}
}

// decodeFailure returns the failure of an image whose pixels cannot be decoded.
func decodeFailure(h imagefile.Header, err error) error {
	name := strings.ToUpper(h.Format.Name)
	if unsupported, ok := errors.AsType[scaledpng.UnsupportedError](err); ok {
		return &pipeline.Failure{Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported PNG: " + string(unsupported), Err: err}
	}
	if _, ok := errors.AsType[scaledjpeg.UnsupportedError](err); ok {
		return &pipeline.Failure{
			Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported " + name + ": it uses a rare feature", Err: err,
		}
	}
	text := "its pixels cannot be decoded"
	if h.Unterminated {
		text = "ends before its end-of-image marker"
	}
	return &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged " + name + ": " + text, Err: err}
}
