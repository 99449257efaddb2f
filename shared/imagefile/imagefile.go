// Package imagefile decides from the bytes alone whether data is an image that Imagebatch accepts, before
// anything is decoded.
//
// It guarantees that the accepted data is a complete JPEG or PNG: the magic number, the header and the
// structure up to the end marker are consistent, [image.DecodeConfig] returns the same format and size, and
// decoding stays within [Limits] and within [Header.DecodedBytes] of memory. It does no entropy decoding: the
// pixels may still turn out to be damaged.
//
// It rejects every other format, whatever a file claims to be, truncated files, images beyond the limits, JPEG
// processes that the decoders here do not support, and images that are also an archive, a PDF document or a web
// page. Other bytes after the end of the image are allowed: phones store motion photos and gain maps there.
//
// The work is linear in the number of bytes and allocates almost nothing, so it is safe for data of untrusted
// clients.
package imagefile

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The two formats.
const (
	JPEG = "jpeg"
	PNG  = "png"
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
	Format      string // JPEG or PNG
	Width       int    // pixels, as stored
	Height      int    // pixels, as stored
	BitDepth    int    // bits per sample as stored: 1, 2, 4, 8 or 16
	ColorModel  string // one of the color models above
	Alpha       bool   // an alpha channel, or transparent colors
	Progressive bool   // a progressive JPEG
	Interlaced  bool   // an interlaced PNG
	Scans       int    // scans of a JPEG; 1 for a PNG
	Orientation int    // EXIF tag 0x0112, 1 to 8; 1 if the file has none
	Exif        []byte // the TIFF structure of the EXIF block, aliasing the file; nil if there is none
	Trailing    int    // bytes after the end of the image
	Animated    bool   // a PNG with an animation in addition to its image (chunk acTL)

	// The file's metadata, not parsed. All of it aliases the file; of each kind the first one counts, and nil
	// means that there is none.

	XMP   []byte // the packet in APP1, or in an uncompressed iTXt chunk
	IPTC  []byte // Photoshop's image resources: an APP13 segment after its name
	ICC   []byte // JPEG: the profile, a copy if it has several segments; PNG: the iCCP chunk
	Texts []Text // the text chunks of a PNG, at most 32

	AdobeRGB bool // InteroperabilityIndex of the EXIF block is R03, which stands for Adobe RGB

	CICP, SRGB, Gamma, Chromaticities []byte // the chunks cICP, sRGB, gAMA and cHRM of a PNG

	// Luma and Chroma are the quantization tables of a JPEG's first and second component, in zigzag order; all
	// zeros if the file lacks one.
	Luma, Chroma [64]uint16

	decodedBytes int64
}

// Text is a text chunk of a PNG (third edition, 11.3.3), aliasing the file.
type Text struct {
	Keyword  string // 1 to 79 bytes
	Value    []byte // UTF-8 or Latin-1, deflated or not
	UTF8     bool
	Deflated bool // a zlib stream, of unknown expanded size
}

// ContentType returns the media type of the file.
func (h Header) ContentType() string { return "image/" + h.Format }

// Extension returns the file name extension of the format, with its dot.
func (h Header) Extension() string {
	if h.Format == PNG {
		return ".png"
	}
	return ".jpg"
}

// Displayed returns the size of the image in pixels with its orientation applied.
func (h Header) Displayed() (width, height int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// DecodedBytes returns an upper bound on the memory that the decoders of the standard library use for the
// image: planes padded to whole blocks, the coefficients of a progressive JPEG, the passes of an interlaced
// PNG, and the copy for a change of color model.
func (h Header) DecodedBytes() int64 { return h.decodedBytes }

// Read checks data and returns its header. The error is always a *[pipeline.Failure] with the code
// not_an_image, unsupported_format, damaged_image or too_many_pixels, and a text for the person who sent the
// file.
func Read(data []byte, limits Limits) (Header, error) {
	limits = limits.orDefaults()
	var h Header
	var err error
	switch {
	case len(data) == 0:
		return Header{}, notAnImage("the file is empty")
	case bytes.HasPrefix(data, []byte(jpegMagic)):
		h, err = readJPEG(data, limits)
	case bytes.HasPrefix(data, []byte(pngMagic)):
		h, err = readPNG(data, limits)
	default:
		err = refuse(data)
	}
	if err != nil {
		return Header{}, err
	}
	if err := checkNature(data, data[len(data)-h.Trailing:]); err != nil {
		return Header{}, err
	}
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

func tooMany(reason string, args ...any) error {
	return &pipeline.Failure{Code: pipeline.CodeTooManyPixels, Text: "Too many pixels: " + fmt.Sprintf(reason, args...)}
}
