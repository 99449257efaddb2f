// Package describe looks at one image and tells what is in it: the facts of the
// file, what the camera and people wrote, colours, light, flags, hashes, words, and
// a thumbnail.
//
// It promises that the image is decoded once and no larger than the figures need,
// that the decoded pixels of all images at work at the same time stay within a
// budget of bytes, that nothing is decoded before [imagefile.Read] has checked the
// whole structure, and that the same bytes give the same [pipeline.Metadata] and
// the same thumbnail, bit for bit, for one [Version] on one architecture. Damaged
// metadata never fails an image: one bad tag costs that tag and becomes a warning.
//
// EXIF is read by imagemeta behind checks of our own, since it gives up at the
// first odd entry. XMP and IPTC are read by small readers here, since its own
// bound neither depth nor values, and read neither languages nor a packet without
// its outer element. What is composed of an image tells nothing that was not
// measured. go-colorful converts colours, which no record depends on beyond the
// digits that it is rounded to.
//
// It refuses nothing that imagefile takes unless its pixels turn out to be
// damaged. Every figure about the picture is taken from one small upright copy, at
// most [WorkingSize] pixels long, so that it means the same for the image and
// for its scaled copies.
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

	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Version is the analyzer_version of the metadata. It is raised with every change
// after which an image would be described in other words or other bytes.
const Version = "2.0.0"

// WorkingSize is the long side in pixels of the copy that everything is computed
// from, and of the thumbnail. Smaller images are never enlarged.
const WorkingSize = 320

// DefaultPixelBytes is the budget of a Config that gives none.
const DefaultPixelBytes = 512 << 20

// ErrNoRoom says that an image has waited for its share of memory until half of its
// time was over. That is nobody's fault: others had it.
var ErrNoRoom = errors.New("no memory for decoded pixels")

// Config sets the bounds. Its zero value is a usable one.
type Config struct {
	// PixelBytes bounds the memory of the decoded pixels of all images at work at
	// the same time. An image that needs more by itself is decoded alone. 0 means
	// DefaultPixelBytes.
	PixelBytes int64
	// Limits are what an image may have; see [imagefile.Limits].
	Limits imagefile.Limits
	// GPS says what of places comes into the record. "" means KeepGPS.
	GPS GPS
	// Metrics counts and times the decoding. nil keeps the figures to itself.
	Metrics *telemetry.Registry
}

// Describer describes images, any number at the same time.
type Describer struct {
	limits imagefile.Limits
	gps    GPS
	names  *colorNames
	budget int64
	pixels *semaphore.Weighted  // of budget bytes
	held   *telemetry.Gauge     // of them
	waited *telemetry.Histogram // for them
	took   *telemetry.Histogram
	decode func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error)
}

// New makes a Describer.
func New(c Config) *Describer {
	if c.PixelBytes <= 0 {
		c.PixelBytes = DefaultPixelBytes
	}
	if c.Metrics == nil {
		c.Metrics = telemetry.NewRegistry()
	}
	c.Metrics.Gauge("decoded_pixel_bytes_limit", "Value of MAX_PIXEL_BYTES.").Set(float64(c.PixelBytes))
	return &Describer{
		limits: c.Limits, gps: c.GPS, names: newColorNames(), budget: c.PixelBytes,
		pixels: semaphore.NewWeighted(c.PixelBytes), decode: decodePixels,
		held:   c.Metrics.Gauge("decoded_pixel_bytes", "Bytes of the budget MAX_PIXEL_BYTES in use for decoded pixels."),
		waited: c.Metrics.Histogram("decode_wait_seconds", "Time that an image waits for its share of the budget MAX_PIXEL_BYTES.", []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30}),
		took: c.Metrics.Histogram("decode_duration_seconds", "Duration of decoding an image, by format and scale: 1, 2, 4 or 8 times smaller.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "format", "scale"),
	}
}

// Describe tells what is in the JPEG or PNG file data, and gives a thumbnail of
// it: an upright JPEG without EXIF of at most [pipeline.MaxThumbnailBytes].
//
// A fault of the image is a *[pipeline.Failure]. Other errors are [ErrNoRoom],
// ctx's, also while it waits for its share of memory or decodes, and a panic of a
// decoder, which may be the fault of this process and not of the image.
func (d *Describer) Describe(ctx context.Context, data []byte) (m pipeline.Metadata, thumbnail []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			err = fmt.Errorf("describe image: panic: %v\n%s", p, stack[:min(len(stack), 4<<10)])
		}
	}()
	h, err := imagefile.Read(data, d.limits)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	picture, checked, err := d.uprightCopy(ctx, data, h)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	flat := onWhite(picture)
	thumbnail, err = encodeThumbnail(flat)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}

	return d.tell(data, h, checked, picture, flat), thumbnail, ctx.Err()
}

// tell makes the record of a picture and of the same picture on white.
func (d *Describer) tell(data []byte, h imagefile.Header, checked scaledjpeg.Checked, picture *image.NRGBA, flat *image.RGBA) pipeline.Metadata {
	var warned warnings
	if h.Trailing > 0 {
		warned.add("%d bytes after the end of the image", h.Trailing)
	}
	sum := sha256.Sum256(data)
	seen := measure(picture, flat)
	own := readEmbedded(h, d.gps, &warned)

	m := pipeline.Metadata{
		AnalyzerVersion: Version,
		Rating:          own.rating, Copyright: own.copyright, Creators: own.creators,
		Format: h.Format, Shape: shape(h.Displayed()), Orientation: h.Orientation,
		BitDepth: h.BitDepth, ColorModel: h.ColorModel, HasAlpha: h.Alpha, AlphaUsed: h.Alpha && seen.transparent,
		ICCProfile:  profileName(h, &warned),
		Progressive: h.Progressive || h.Interlaced, JPEGQuality: jpegQuality(h), Animated: h.Animated,
		EntropyChecked: string(checked), FileSize: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		MeanColor: seen.meanColor(), Colors: seen.palette(d.names),
		Saturation: seen.saturation(), Colorfulness: seen.colorfulness(), Warmth: seen.warmth(),
		Entropy: seen.entropy(), Sharpness: sharpness(seen.light),
		BlurHash: blurHash(flat), ThumbHash: thumbHash(picture), DHash: dHash(seen.light), PHash: pHash(seen.light),
	}
	m.Width, m.Height = h.Displayed()
	m.Brightness, m.Contrast = seen.brightnessAndContrast()
	m.ShadowsClipped, m.HighlightsClipped = seen.clipping()
	if own.exif != (pipeline.Exif{}) {
		m.Exif = &own.exif
	}
	m.Flags = flagsOf(h, seen, &m, own.comment)
	caption(&m, own)
	m.Warnings = warned.list
	return m
}

// shape is what people call the picture's format: the sides of a square differ by
// at most a hundredth.
func shape(width, height int) string {
	switch long := max(width, height); {
	case 100*(long-min(width, height)) <= long:
		return "square"
	case width > height:
		return "landscape"
	default:
		return "portrait"
	}
}
