// Package describe examines one image and describes it: the properties of the file, the metadata that the
// camera and people wrote (package embedded), colors, light, flags and hashes (package visual), a caption (package
// caption) and a thumbnail. Data runs one way through these packages, in this order. What the pixels show is
// described in sRGB, to which the color profile of the file (package colorprofile) converts them.
//
// It guarantees that the image is decoded once and no larger than the statistics need, that the decoded pixels
// of all images in flight stay within a budget of bytes, that nothing is decoded before [imagefile.Read] has
// checked the whole structure, and that the same bytes give the same [pipeline.Metadata] and the same
// thumbnail, bit for bit, for one [Version] on one architecture.
//
// It accepts every image that imagefile accepts unless the pixels turn out to be damaged.
package describe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"runtime/debug"

	"golang.org/x/sync/semaphore"

	"github.com/imagebatch/imagebatch/analyzer/internal/caption"
	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Version is the analyzer_version of the metadata. Raise it with every change after which an image would be
// described in other words or other bytes.
const Version = "2.2.0"

// DefaultPixelBytes is the budget of a Config that sets none.
const DefaultPixelBytes = 512 << 20

// ErrNoRoom is returned for an image that has waited for its share of memory until half of its time was over.
// The image is not at fault: others used the memory.
var ErrNoRoom = errors.New("no memory for decoded pixels")

// Config sets the limits. The zero value is usable.
type Config struct {
	// PixelBytes bounds the memory of the decoded pixels of all images in flight. An image that needs more by
	// itself is decoded alone. 0 means DefaultPixelBytes.
	PixelBytes int64
	// Limits bounds the images; see [imagefile.Limits].
	Limits imagefile.Limits
	// GPS controls how much of a place the record contains. "" means [embedded.KeepGPS].
	GPS embedded.GPS
	// Metrics counts and times the decoding. nil discards the metrics.
	Metrics *telemetry.Registry
}

// Describer describes images. It is safe for concurrent use.
type Describer struct {
	limits imagefile.Limits
	gps    embedded.GPS
	budget int64
	pixels *semaphore.Weighted  // budget in bytes
	held   *telemetry.Gauge     // bytes of the budget in use
	waited *telemetry.Histogram // waits for the budget
	took   *telemetry.Histogram
	side   int // maximum long side of the working copy
	decode func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error)
}

// New returns a Describer.
func New(c Config) *Describer {
	if c.PixelBytes <= 0 {
		c.PixelBytes = DefaultPixelBytes
	}
	if c.Metrics == nil {
		c.Metrics = telemetry.NewRegistry()
	}
	c.Metrics.Gauge("decoded_pixel_bytes_limit", "Value of MAX_PIXEL_BYTES.").Set(float64(c.PixelBytes))
	return &Describer{
		limits: c.Limits, gps: c.GPS, budget: c.PixelBytes,
		pixels: semaphore.NewWeighted(c.PixelBytes), side: visual.Size, decode: decodeTo(visual.Size),
		held:   c.Metrics.Gauge("decoded_pixel_bytes", "Bytes of the budget MAX_PIXEL_BYTES in use for decoded pixels."),
		waited: c.Metrics.Histogram("decode_wait_seconds", "Time that an image waits for its share of the budget MAX_PIXEL_BYTES.", []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30}),
		took: c.Metrics.Histogram("decode_duration_seconds", "Duration of decoding an image, by format and scale: 1, 2, 4 or 8 times smaller.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "format", "scale"),
	}
}

// Describe returns the metadata of the JPEG or PNG file data, and a thumbnail: an upright JPEG without EXIF of
// at most [pipeline.MaxThumbnailBytes].
//
// A fault of the image is a *[pipeline.Failure]. Other errors are [ErrNoRoom], ctx's, also while waiting for
// memory or decoding, and a panic of a decoder, which may be the fault of this process and not of the image.
func (d *Describer) Describe(ctx context.Context, data []byte) (m pipeline.Metadata, thumbnail []byte, err error) {
	defer recovered(&err, "describe image")
	h, err := imagefile.Read(data, d.limits)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	var warned record.Warnings
	if h.Trailing > 0 {
		warned.Add("%d bytes after the end of the image", h.Trailing)
	}
	if h.Unterminated {
		warned.Add("no end-of-image marker after the image")
	}
	view := h.Metadata(data, embedded.MaxPacket)
	colors := colorsOf(h, view, &warned)
	img, checked, err := d.uprightCopy(ctx, data, h, colors)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	small := visual.NewCopy(img, colors.apply(img))
	thumbnail, err = small.Thumbnail()
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	m, small.Comment = embedded.Describe(view, h, d.gps, &warned)
	sum := sha256.Sum256(data)
	m.AnalyzerVersion, m.EntropyChecked = Version, string(checked)
	m.FileSize, m.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	small.Describe(&m)
	caption.Compose(&m)
	m.Warnings = warned.List
	return m, thumbnail, ctx.Err()
}

// Upright returns the JPEG or PNG file data as an upright image in sRGB whose long side is at most side pixels. Its
// pixels are charged to the same budget, and its errors are those of [Describer.Describe].
func (d *Describer) Upright(ctx context.Context, data []byte, side int) (img *image.NRGBA, err error) {
	defer recovered(&err, "decode image")
	h, err := imagefile.Read(data, d.limits)
	if err != nil {
		return nil, err
	}
	var ignored record.Warnings // Describe reports them
	colors := colorsOf(h, h.Metadata(data, embedded.MaxPacket), &ignored)
	other := *d
	other.side, other.decode = side, decodeTo(side)
	img, _, err = other.uprightCopy(ctx, data, h, colors)
	if err != nil {
		return nil, err
	}
	colors.apply(img)
	return img, ctx.Err()
}

// recovered sets err to an error with the stack if the caller panics.
func recovered(err *error, doing string) {
	if p := recover(); p != nil {
		stack := debug.Stack()
		*err = fmt.Errorf("%s: panic: %v\n%s", doing, p, stack[:min(len(stack), 4<<10)])
	}
}
