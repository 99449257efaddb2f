// Package scaledjpeg decodes a JPEG at 1/2, 1/4 or 1/8 of its size, many times faster than image/jpeg decodes
// the full size and in a fraction of the memory, or at full size. It is written from ITU-T Recommendation T.81.
//
// At a smaller scale each 8×8 block of samples becomes 4×4, 2×2 or one sample. These are the means of the
// samples that they stand for, as far as the lowest 16, 4 or 1 coefficients of the block determine them. At 1/8
// that is the exact mean, and the luma matches libjpeg-turbo bit for bit. At 1/4 it is within 37 dB (PSNR) of
// libjpeg-turbo for photos, at 1/2 within 34 dB; these are grainy photos, most are at 40 to 50. Unneeded work
// is skipped: the codes of higher coefficients are read only for their lengths, several at a time, and scans of
// a progressive image that contain only such coefficients are skipped.
//
// It accepts the baseline, extended sequential and progressive images that image/jpeg accepts, in gray, YCbCr
// or RGB. It uses no more memory than the scaled planes (five times that for a progressive image) and 100 kB of
// tables. At full size, each sample is within 1 of exact arithmetic.
//
// A damaged image fails. In a decoded scan every bad code, every coefficient beyond its block and an early end
// are errors, of the types [jpeg.FormatError] and [jpeg.UnsupportedError] as in image/jpeg. In a skipped scan
// only the structure is checked: the markers, the number and order of the restarts, the end of the image.
// [Partial] reports that there was a skipped scan. Restarts in a scan of one of several components are counted
// in blocks, as T.81 and libjpeg do and image/jpeg does not.
//
// It rejects four color components, which image/jpeg accepts, and everything that image/jpeg rejects: 12 bits,
// lossless, hierarchical and arithmetic coding.
package scaledjpeg

import (
	"context"
	"fmt"
	"image"
	"image/jpeg"
)

// Checked is the part of the entropy-coded data that was decoded, and thereby checked.
type Checked string

// Full means every scan; Partial means some scans of a progressive image.
const (
	Full    Checked = "full"
	Partial Checked = "partial"
)

// The errors of images that image/jpeg accepts although they violate T.81.
const (
	errBeyondBlock = jpeg.FormatError("coefficient beyond the end of its block")
	errReserved    = jpeg.FormatError("reserved code in a sequential scan")
	errTable       = jpeg.FormatError("Huffman table with too many codes")
	errNoQuant     = jpeg.FormatError("missing quantization table")
	errNoScan      = jpeg.FormatError("component without a scan")
	errNoWidth     = jpeg.FormatError("no width")
	errQuantCut    = jpeg.FormatError("quantization table cut short") // image/jpeg accepts an empty one
	errNoHeight    = jpeg.UnsupportedError("height after the first scan")
)

// The errors that image/jpeg returns too.
const (
	errShort   = jpeg.FormatError("short entropy-coded data")
	errBadCode = jpeg.FormatError("bad Huffman code")
	errRestart = jpeg.FormatError("bad RST marker")
	errLength  = jpeg.FormatError("segment of the wrong length")
)

// Decode decodes the JPEG file data at 1/scale of its size; scale is 1, 2, 4 or 8. The image is an
// *[image.YCbCr] with the subsampling of the file, an *[image.Gray] or, for RGB, an *[image.RGBA]; its size is
// the file's divided by the scale, rounded up. When ctx ends, Decode returns ctx's error.
func Decode(ctx context.Context, data []byte, scale int) (image.Image, Checked, error) {
	if scale != 1 && scale != 2 && scale != 4 && scale != 8 {
		return nil, "", fmt.Errorf("decode at 1/%d: the scales are 1, 2, 4 and 8", scale)
	}
	return newDecoder(data, scale).decode(ctx)
}

// manyBlocks is the size of a component, some 130,000 samples, from which on preparing its skip tables saves
// more time than it takes.
const manyBlocks = 2000

func (d *decoder) decode(ctx context.Context) (image.Image, Checked, error) {
	if err := d.segments(ctx); err != nil {
		return nil, "", err
	}
	m, err := d.image()
	if err != nil {
		return nil, "", err
	}
	if d.skipped {
		return m, Partial, nil
	}
	return m, Full, nil
}

// decoder is the state of decoding one file.
type decoder struct {
	data []byte
	pos  int

	scale int
	side  int    // samples of a scaled block, across and down
	order *order // positions of the wanted coefficients
	bits  bits

	width, height int
	columns, rows int // MCUs of an interleaved scan
	baseline      bool
	progressive   bool
	components    []component // none until the frame header
	interval      int         // MCUs between restarts; 0 for none
	skipped       bool        // a scan was skipped
	manyBlocks    int         // minimum blocks for which skipping several codes together pays off

	quant [4]*[64]uint16 // in zig-zag order
	dc    [4]*table
	ac    [4]*table

	jfif      bool
	adobe     bool
	transform byte // Adobe's color transform
}

func newDecoder(data []byte, scale int) *decoder {
	side := 8 / scale
	return &decoder{data: data, scale: scale, side: side, order: newOrder(side), bits: bits{data: data}, manyBlocks: manyBlocks}
}

// component is one of the planes.
type component struct {
	id      byte
	tq      byte // number of its quantization table
	h, v    int  // sampling factors
	columns int  // blocks per row in a scan of its own
	rows    int

	scanned bool        // its DC coefficients have been read
	factors *factors    // nil until its first scan
	pix     []byte      // padded to whole MCUs
	stride  int         //
	coded   *progressed // only for a progressive image
}

// scaled returns the length of a side of n pixels after scaling.
func (d *decoder) scaled(n int) int { return (n + d.scale - 1) / d.scale }

// image returns the image of the planes after all scans have been read.
func (d *decoder) image() (image.Image, error) {
	if len(d.components) == 0 {
		return nil, jpeg.FormatError("missing SOF marker")
	}
	for i := range d.components {
		c := &d.components[i]
		if !c.scanned {
			return nil, errNoScan
		}
		if c.coded != nil {
			d.transformProgressed(c)
		}
	}
	bounds := image.Rect(0, 0, d.scaled(d.width), d.scaled(d.height))
	first := &d.components[0]
	if len(d.components) == 1 {
		return &image.Gray{Pix: first.pix, Stride: first.stride, Rect: bounds}, nil
	}
	m := &image.YCbCr{
		Y: first.pix, Cb: d.components[1].pix, Cr: d.components[2].pix,
		YStride: first.stride, CStride: d.components[1].stride,
		SubsampleRatio: subsampling(first.h/d.components[1].h, first.v/d.components[1].v),
		Rect:           bounds,
	}
	if d.isRGB() {
		return interleave(m), nil
	}
	return m, nil
}

func subsampling(across, down int) image.YCbCrSubsampleRatio {
	switch across<<4 | down {
	case 0x12:
		return image.YCbCrSubsampleRatio440
	case 0x21:
		return image.YCbCrSubsampleRatio422
	case 0x22:
		return image.YCbCrSubsampleRatio420
	case 0x41:
		return image.YCbCrSubsampleRatio411
	case 0x42:
		return image.YCbCrSubsampleRatio410
	default:
		return image.YCbCrSubsampleRatio444
	}
}

// isRGB follows image/jpeg: no JFIF, and either Adobe's transform 0 or the components R, G and B.
func (d *decoder) isRGB() bool {
	if d.jfif {
		return false
	}
	c := d.components
	return d.adobe && d.transform == 0 || c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B'
}

// interleave returns an RGB image of the red, green and blue planes.
func interleave(m *image.YCbCr) *image.RGBA {
	out := image.NewRGBA(m.Rect)
	for y := range m.Rect.Dy() {
		row := out.Pix[y*out.Stride:]
		for x := range m.Rect.Dx() {
			c := m.COffset(x, y)
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0], p[1], p[2], p[3] = m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c], 255
		}
	}
	return out
}
