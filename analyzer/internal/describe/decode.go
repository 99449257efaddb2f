package describe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// uprightCopy decodes the image and returns the working copy of it with its
// orientation applied. The decoded pixels are charged to the budget from before
// they are allocated until the copy is made.
func (d *Describer) uprightCopy(ctx context.Context, data []byte, h imagefile.Header) (*image.NRGBA, error) {
	need := min(h.DecodedBytes(), d.budget)
	if err := d.pixels.Acquire(ctx, need); err != nil {
		return nil, fmt.Errorf("wait for memory to decode: %w", err)
	}
	defer d.pixels.Release(need)

	picture, err := d.decodeSmall(ctx, data, h)
	if need >= d.budget/largeShare {
		// The share goes to the next image, while the collector would wait until as
		// much again has come together. A collection is nothing beside the decoding
		// of so many pixels.
		runtime.GC()
	}
	return picture, err
}

// largeShare is the part of the budget from which on an image's pixels are
// collected before their share is given back.
const largeShare = 8

// decodeSmall decodes the image and returns its working copy. Nothing refers to
// the decoded pixels when it has returned.
func (d *Describer) decodeSmall(ctx context.Context, data []byte, h imagefile.Header) (*image.NRGBA, error) {
	decoded, err := d.decode(&contextReader{ctx: ctx, r: bytes.NewReader(data)}, h)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("decode %s: %w", h.Format, ctx.Err())
	}
	if err != nil {
		return nil, decodeFailure(h, err)
	}
	if size := decoded.Bounds().Size(); size.X != h.Width || size.Y != h.Height {
		return nil, decodeFailure(h, fmt.Errorf("decoded to %d×%d, the header says %d×%d", size.X, size.Y, h.Width, h.Height))
	}
	width, height := fit(h.Width, h.Height, WorkingSize)
	return upright(reduce(decoded, width, height), h.Orientation), nil
}

// decodePixels decodes the whole image. Whatever decodes in its place may return
// a scaled image instead if uprightCopy learns its scale.
func decodePixels(r io.Reader, h imagefile.Header) (image.Image, error) {
	if h.Format == imagefile.PNG {
		return png.Decode(r)
	}
	return jpeg.Decode(r)
}

// decodeFailure is the end of an image whose pixels cannot be decoded.
func decodeFailure(h imagefile.Header, err error) error {
	name := strings.ToUpper(h.Format)
	var jpegUnsupported jpeg.UnsupportedError
	var pngUnsupported png.UnsupportedError
	if errors.As(err, &jpegUnsupported) || errors.As(err, &pngUnsupported) {
		return &pipeline.Failure{
			Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported " + name + ": it uses a rare feature", Err: err,
		}
	}
	return &pipeline.Failure{
		Code: pipeline.CodeDamaged, Text: "Damaged " + name + ": its pixels cannot be decoded", Err: err,
	}
}

// contextReader ends a decoding when its context ends: the decoders read as they
// go, and an error of the reader is the only thing that stops them.
type contextReader struct {
	ctx context.Context // it lives for one decoding, and io.Reader has no place for it
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// fit returns width and height scaled down so that the longer is at most side
// and neither is less than 1.
func fit(width, height, side int) (int, int) {
	long := max(width, height)
	if long <= side {
		return width, height
	}
	scale := func(n int) int { return max(1, (n*side+long/2)/long) }
	return scale(width), scale(height)
}
