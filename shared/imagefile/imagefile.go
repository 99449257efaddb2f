// Package imagefile decides from the bytes alone whether something is an image
// that Imagebatch takes, before anything is decoded.
//
// It promises that what it accepts is a whole JPEG or PNG: the magic, the header
// and the structure up to the end marker agree, [image.DecodeConfig] sees the
// same format and size, and decoding it stays within [Limits] and within
// [Header.DecodedBytes] of memory. It does no entropy decoding: the pixels may
// still turn out to be damaged when they are decoded.
//
// It refuses every other format whatever a file claims to be, files that were
// cut short, pictures beyond the limits, JPEG processes that the decoders here
// do not know, and files that are an archive, a PDF document or a web
// page as well as a picture. Bytes after the end of the picture are otherwise
// allowed: phones keep motion photos and gain maps there.
//
// The work is linear in the bytes and allocates next to nothing, so it is safe
// to give it what a stranger sent.
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

// The colour models that a Header tells, as the file stores its samples.
const (
	Gray    = "gray"
	YCbCr   = "ycbcr"
	RGB     = "rgb"
	CMYK    = "cmyk" // YCbCrK too
	Palette = "palette"
)

// Limits bounds what a picture may cost its decoder. A field that is zero means
// its default.
type Limits struct {
	MaxPixels int64 // width × height; 50,000,000
	MaxSide   int   // width and height each, in pixels; 20,000
	MaxScans  int   // of a JPEG; 100
	// MaxWork bounds width × height × scans; 2,000,000,000. A progressive JPEG of
	// 60 kB can ask for 17 s of decoding, and its size in pixels does not show it.
	MaxWork int64
}

func (l Limits) orDefaults() Limits {
	return Limits{cmp.Or(l.MaxPixels, 50_000_000), cmp.Or(l.MaxSide, 20_000), cmp.Or(l.MaxScans, 100), cmp.Or(l.MaxWork, 2_000_000_000)}
}

// Header is what a file says of its picture.
type Header struct {
	Format      string // JPEG or PNG
	Width       int    // pixels, as stored
	Height      int    // pixels, as stored
	BitDepth    int    // bits per sample as stored: 1, 2, 4, 8 or 16
	ColorModel  string // one of the colour models above
	Alpha       bool   // an alpha channel, or colours that are transparent
	Progressive bool   // a progressive JPEG
	Interlaced  bool   // an interlaced PNG
	Scans       int    // of a JPEG; 1 for a PNG
	Orientation int    // EXIF tag 0x0112, 1 to 8; 1 when the file says nothing
	Exif        []byte // the TIFF structure of the EXIF block, aliasing the file; nil when there is none
	Trailing    int    // bytes after the end of the picture
	Animated    bool   // a PNG with an animation besides its picture (chunk acTL)

	// The metadata that the file brings, not looked into. All of it aliases the
	// file, of each kind the first one counts, and nil means that there is none.

	XMP   []byte // the packet: of APP1, or of an iTXt chunk that is not compressed
	IPTC  []byte // Photoshop's image resources: an APP13 segment behind its name
	ICC   []byte // of a JPEG, what the first of its segments holds of the profile; of a PNG, the iCCP chunk
	Texts []Text // the text chunks of a PNG, at most 32

	// Luma and Chroma are the quantisation tables of a JPEG's first and second
	// component, in zigzag order, all zeros where the file lacks one.
	Luma, Chroma [64]uint16

	decodedBytes int64
}

// Text is a text chunk of a PNG (third edition, 11.3.3), aliasing the file.
type Text struct {
	Keyword  string // 1 to 79 bytes
	Value    []byte // UTF-8 or Latin-1, deflated or not
	UTF8     bool
	Deflated bool // a zlib stream, of whatever size it becomes
}

// ContentType is the media type of the file.
func (h Header) ContentType() string { return "image/" + h.Format }

// Extension is the file name extension of the format, with its dot.
func (h Header) Extension() string {
	if h.Format == PNG {
		return ".png"
	}
	return ".jpg"
}

// Displayed is the size of the picture in pixels with its orientation applied.
func (h Header) Displayed() (width, height int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// DecodedBytes estimates from above the memory that the decoders of the standard
// library hold at once for the picture: planes padded to whole blocks, the
// coefficients of a progressive JPEG, the passes of an interlaced PNG, and
// the copy that a change of colour model makes.
func (h Header) DecodedBytes() int64 { return h.decodedBytes }

// Read checks data and tells what it is. The error is always a
// *[pipeline.Failure] of code not_an_image, unsupported_format, damaged_image
// or too_many_pixels, with a text for the person who sent the file.
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

// checkSize refuses a picture beyond the limits of pixels and sides.
func (l Limits) checkSize(width, height int) error {
	if width > l.MaxSide || height > l.MaxSide {
		return tooMany("%d×%d has a side over %d pixels", width, height, l.MaxSide)
	}
	if int64(width)*int64(height) > l.MaxPixels {
		return tooMany("%d×%d is over %d in all", width, height, l.MaxPixels)
	}
	return nil
}

// checkWork refuses a picture of more scans than the limits allow for its size.
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
