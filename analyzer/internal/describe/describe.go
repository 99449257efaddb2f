// Package describe examines one image and describes it: the properties of the file, the metadata that the
// camera and people wrote, colors, light, flags, hashes, a caption and a thumbnail.
//
// It guarantees that the image is decoded once and no larger than the statistics need, that the decoded pixels
// of all images in flight stay within a budget of bytes, that nothing is decoded before [imagefile.Read] has
// checked the whole structure, and that the same bytes give the same [pipeline.Metadata] and the same
// thumbnail, bit for bit, for one [Version] on one architecture. Damaged metadata never fails an image: one bad
// tag costs that tag and becomes a warning.
//
// EXIF is read by imagemeta behind checks of our own, because imagemeta stops at the first odd entry. XMP and
// IPTC are read by small readers here: those of imagemeta bound neither depth nor values, and read neither
// languages nor a packet without its outer element. A composed caption states only what was measured.
// go-colorful converts colors; the records do not depend on it beyond the digits that they are rounded to.
//
// It accepts every image that imagefile accepts unless the pixels turn out to be damaged. All statistics are
// computed from one small, upright copy, at most [WorkingSize] pixels long, so that they mean the same for the
// image and for its scaled copies.
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

	"github.com/imagebatch/imagebatch/analyzer/internal/colorprofile"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Version is the analyzer_version of the metadata. Raise it with every change after which an image would be
// described in other words or other bytes.
const Version = "2.1.0"

// WorkingSize is the long side in pixels of the thumbnail and of the copy that all statistics are computed
// from. Smaller images are never enlarged.
const WorkingSize = 320

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
	// GPS controls how much of a place the record contains. "" means KeepGPS.
	GPS GPS
	// Metrics counts and times the decoding. nil discards the metrics.
	Metrics *telemetry.Registry
}

// Describer describes images. It is safe for concurrent use.
type Describer struct {
	limits imagefile.Limits
	gps    GPS
	names  *colorNames
	budget int64
	pixels *semaphore.Weighted  // budget in bytes
	held   *telemetry.Gauge     // bytes of the budget in use
	waited *telemetry.Histogram // waits for the budget
	took   *telemetry.Histogram
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
		limits: c.Limits, gps: c.GPS, names: newColorNames(), budget: c.PixelBytes,
		pixels: semaphore.NewWeighted(c.PixelBytes), decode: decodePixels,
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
	var warned warnings
	profile, name := profileOf(h, &warned)
	colors := colorsOf(h, profile, &warned)
	img, checked, err := d.uprightCopy(ctx, data, h, colors)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	var stored *[256]uint32
	if colors != nil && colors.Space() != colorprofile.CMYK {
		// A color outside sRGB is clipped, but nothing was clipped when it was stored.
		stored = lumaLevels(onWhite(img))
		colors.Apply(img.Pix)
	}
	flat := onWhite(img)
	thumbnail, err = encodeThumbnail(flat)
	if err != nil {
		return pipeline.Metadata{}, nil, err
	}
	seen := measure(img, flat)
	if stored != nil {
		seen.stored = *stored
	}
	m = d.record(data, h, checked, seen, &warned)
	m.ICCProfile = profileName(profile, name, &warned)
	m.Warnings = warned.list
	m.BlurHash, m.ThumbHash = blurHash(flat), thumbHash(img)
	return m, thumbnail, ctx.Err()
}

// record returns the record of an image, without its profile, warnings and color hashes.
func (d *Describer) record(data []byte, h imagefile.Header, checked scaledjpeg.Checked, seen *measured, warned *warnings) pipeline.Metadata {
	if h.Trailing > 0 {
		warned.add("%d bytes after the end of the image", h.Trailing)
	}
	sum := sha256.Sum256(data)
	own := readEmbedded(h, d.gps, warned)

	m := pipeline.Metadata{
		AnalyzerVersion: Version,
		Rating:          own.rating, Copyright: own.copyright, Creators: own.creators,
		Format: h.Format, Shape: shape(h.Displayed()), Orientation: h.Orientation,
		BitDepth: h.BitDepth, ColorModel: h.ColorModel, HasAlpha: h.Alpha, AlphaUsed: h.Alpha && seen.transparent,
		Progressive: h.Progressive || h.Interlaced, JPEGQuality: jpegQuality(h), Animated: h.Animated,
		EntropyChecked: string(checked), FileSize: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
		MeanColor: seen.meanColor(), Colors: seen.palette(d.names),
		Saturation: seen.saturation(), Colorfulness: seen.colorfulness(), Warmth: seen.warmth(),
		Entropy: seen.entropy(), Sharpness: sharpness(seen.light),
		DHash: dHash(seen.light), PHash: pHash(seen.light),
	}
	m.Width, m.Height = h.Displayed()
	m.Brightness, m.Contrast = seen.brightnessAndContrast()
	m.ShadowsClipped, m.HighlightsClipped = seen.clipping()
	if own.exif != (pipeline.Exif{}) {
		m.Exif = &own.exif
	}
	m.Flags = flagsOf(h, seen, &m, own.comment)
	caption(&m, own)
	return m
}

// shape names the format of the image. The sides of a square differ by at most 1/100.
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
