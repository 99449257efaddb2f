// Package imagefile decides from the bytes alone whether data is an image that Imagebatch accepts, before
// anything is decoded.
//
// It guarantees that the accepted data is a JPEG or PNG: the magic number, the header and the structure up to
// the end marker are consistent, and decoding stays within [Limits] and within [Header.DecodedBytes] of memory.
// It does no entropy decoding: the pixels may still turn out to be damaged, or incomplete if the end marker of a
// JPEG is missing.
//
// It rejects every other format, whatever a file claims to be, truncated files, images beyond the limits, JPEG
// processes and PNG chunks that the decoders here do not support, and images that are also an archive, a PDF
// document or a web page. Like libjpeg-turbo and libpng, it accepts flaws that do not change the image. Other bytes after the end of the image are allowed: phones store motion photos and gain maps there.
//
// It is also the home of the container formats. A [Format] knows where the metadata of its files is, and a
// [Layout] of a file is edited without decoding it. [Metadata] is the parsed view that the analyzer interprets and
// the processor edits; the packages tiff, iptc, xmp and icc parse its parts.
//
// The work is linear in the number of bytes and allocates almost nothing, so it is safe for data of untrusted
// clients.
package imagefile

import (
	"cmp"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The color models of a Header, as the file stores its samples.
const (
	Gray    = "gray"
	YCbCr   = "ycbcr"
	RGB     = "rgb"
	CMYK    = "cmyk" // also YCbCrK
	Palette = "palette"
)

// Limits bounds the cost of decoding an image. A zero field means its default.
type Limits struct {
	MaxPixels int64 // width × height; 50,000,000
	MaxSide   int   // width and height each, in pixels; 20,000
	MaxScans  int   // scans of a JPEG; 100
	// MaxWork bounds width × height × scans; 2,000,000,000. A progressive JPEG of 60 kB can require 17 s of
	// decoding, which its size in pixels does not show.
	MaxWork int64
}

func (l Limits) orDefaults() Limits {
	return Limits{cmp.Or(l.MaxPixels, 50_000_000), cmp.Or(l.MaxSide, 20_000), cmp.Or(l.MaxScans, 100), cmp.Or(l.MaxWork, 2_000_000_000)}
}

// Header contains the properties of an image according to its file.
type Header struct {
	Layout // the format, and where the metadata is

	Width       int    // pixels, as stored
	Height      int    // pixels, as stored
	BitDepth    int    // bits per sample as stored: 1, 2, 4, 8 or 16
	ColorModel  string // one of the color models above
	Alpha       bool   // an alpha channel, or transparent colors
	Progressive bool   // a progressive JPEG
	Interlaced  bool   // an interlaced PNG
	Scans       int    // scans of a JPEG; 1 for a PNG
	Orientation int    // EXIF tag 0x0112, 1 to 8; 1 if the file has none
	Trailing    int    // bytes after the end of the image; 0 if it is unknown
	// Unterminated reports that a JPEG has no end-of-image marker where one is expected. Only decoding shows
	// whether the image is complete.
	Unterminated bool
	Animated     bool // a PNG with an animation in addition to its image (chunk acTL)

	// Luma and Chroma are the quantization tables of a JPEG's first and second component, in zigzag order; all
	// zeros if the file lacks one.
	Luma, Chroma [64]uint16

	decodedBytes int64
	lastScan     int // offset of a JPEG's last entropy-coded data
}

// ContentType returns the media type of the file.
func (h Header) ContentType() string { return h.Format.MediaType }

// Extension returns the file name extension of the format, with its dot.
func (h Header) Extension() string { return h.Format.Extensions[0] }

// Displayed returns the size of the image in pixels with its orientation applied.
func (h Header) Displayed() (width, height int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// DecodedBytes returns an upper bound on the memory for decoding the whole image: planes padded to whole blocks, the
// coefficients of a progressive JPEG, the passes of an interlaced PNG, and the copy for a change of color model.
func (h Header) DecodedBytes() int64 { return h.decodedBytes }

// Read checks data and returns its header. The error is always a *[pipeline.Failure] with the code
// not_an_image, unsupported_format, damaged_image or too_many_pixels, and a text for the person who sent the
// file.
func Read(data []byte, limits Limits) (Header, error) {
	format := formatOf(data)
	switch {
	case len(data) == 0:
		return Header{}, notAnImage("the file is empty")
	case format == nil:
		return Header{}, refuse(data)
	}
	h, err := format.read(data, limits.orDefaults())
	if err != nil {
		return Header{}, err
	}
	if err := checkNature(data, data[len(data)-h.Trailing:]); err != nil {
		return Header{}, err
	}
	if h.Unterminated {
		if err := checkHidden(data[h.lastScan:]); err != nil {
			return Header{}, err
		}
	}
	h.Format = format
	h.Orientation = h.orientation(data)
	return h, nil
}

// checkSize rejects an image beyond the limits of pixels and sides.
func (l Limits) checkSize(width, height int) error {
	if width > l.MaxSide || height > l.MaxSide {
		return tooMany("%d×%d has a side over %d pixels", width, height, l.MaxSide)
	}
	if int64(width)*int64(height) > l.MaxPixels {
		return tooMany("%d×%d is over %d in all", width, height, l.MaxPixels)
	}
	return nil
}

// checkWork rejects an image with more scans than the limits allow for its size.
func (l Limits) checkWork(width, height, scans int) error {
	if scans > l.MaxScans {
		return tooMany("more than %d scans", l.MaxScans)
	}
	if int64(width)*int64(height)*int64(scans) > l.MaxWork {
		return tooMany("%d×%d in %d scans or more is too much work", width, height, scans)
	}
	return nil
}

func notAnImage(reason string) error {
	text := "Not an image"
	if reason != "" {
		text += ": " + reason
	}
	return &pipeline.Failure{Code: pipeline.CodeNotAnImage, Text: text}
}

func unsupportedFormat(name string) error {
	return &pipeline.Failure{
		Code: pipeline.CodeUnsupportedFormat,
		Text: "Unsupported image format: " + name + " (supported: JPEG, PNG)",
	}
}

func unsupportedJPEG(reason string, args ...any) error {
	return &pipeline.Failure{
		Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported JPEG: " + fmt.Sprintf(reason, args...),
	}
}

func damagedJPEG(reason string, args ...any) error {
	return &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged JPEG: " + fmt.Sprintf(reason, args...)}
}

func damagedPNG(reason string, args ...any) error {
	return &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged PNG: " + fmt.Sprintf(reason, args...)}
}

func unsupportedPNG(reason string) error {
	return &pipeline.Failure{Code: pipeline.CodeUnsupportedFormat, Text: "Unsupported PNG: " + reason}
}

func tooMany(reason string, args ...any) error {
	return &pipeline.Failure{Code: pipeline.CodeTooManyPixels, Text: "Too many pixels: " + fmt.Sprintf(reason, args...)}
}
