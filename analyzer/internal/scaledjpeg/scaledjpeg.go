// Package scaledjpeg decodes a JPEG at a half, a quarter or an eighth of its size,
// many times faster than image/jpeg decodes the whole and in a fraction of the
// memory, or whole. It is written from ITU-T Recommendation T.81.
//
// At a smaller scale each 8×8 block of samples becomes 4×4, 2×2 or one, the means of the samples that
// they stand for, as far as the lowest 16, 4 or 1 of its coefficients tell. At an
// eighth that is the very mean, and the luma is bit for bit what libjpeg-turbo
// gives. At a quarter it is within 37 dB (PSNR) of it for photographs, at a half
// within 34; these are the grainy ones, most are at 40 to 50. What is not needed is
// not computed: the codes of higher coefficients are read only for their lengths,
// several at a time, and scans of a progressive picture that hold nothing else are
// stepped over.
//
// It promises to take what image/jpeg takes of baseline, extended sequential and
// progressive pictures, grey, YCbCr or RGB, and to hold no more memory than the
// scaled planes (five times that for a progressive picture) and 100 kB of tables. Whole,
// each sample is within 1 of what exact arithmetic gives.
//
// A damaged picture fails. In a scan that is decoded every bad code, every
// coefficient beyond its block and an early end are errors, of the types
// [jpeg.FormatError] and [jpeg.UnsupportedError] as in image/jpeg. In a scan that
// is stepped over only its structure is seen: the markers, the number and the
// order of the restarts, the end of the image. [Partial] says that there was such a
// scan. Restarts in a scan of one of several components are counted in blocks, as
// T.81 and libjpeg do and image/jpeg does not.
//
// It refuses four colour components, which image/jpeg takes, and what that refuses:
// 12 bits, lossless, hierarchical and arithmetic coding.
package scaledjpeg

import (
	"context"
	"fmt"
	"image"
	"image/jpeg"
)

// Checked tells how much of the entropy-coded data was decoded, and so checked.
type Checked string

// Full is every scan, Partial some of the scans of a progressive picture.
const (
	Full    Checked = "full"
	Partial Checked = "partial"
)

// The errors of pictures that image/jpeg takes although they break T.81.
const (
	errBeyondBlock = jpeg.FormatError("coefficient beyond the end of its block")
	errReserved    = jpeg.FormatError("reserved code in a sequential scan")
	errTable       = jpeg.FormatError("Huffman table of more codes than there are")
	errNoQuant     = jpeg.FormatError("missing quantisation table")
	errNoScan      = jpeg.FormatError("component without a scan")
	errNoWidth     = jpeg.FormatError("no width")
	errQuantCut    = jpeg.FormatError("quantisation table cut short") // image/jpeg takes one of no values
	errNoHeight    = jpeg.UnsupportedError("height after the first scan")
)

// The errors that image/jpeg has too.
const (
	errShort   = jpeg.FormatError("short entropy-coded data")
	errBadCode = jpeg.FormatError("bad Huffman code")
	errRestart = jpeg.FormatError("bad RST marker")
	errLength  = jpeg.FormatError("segment of the wrong length")
)

// Decode decodes the JPEG file data at 1/scale of its size, scale being 1, 2, 4 or
// 8. The picture is an *[image.YCbCr] of the subsampling of the file, an
// *[image.Gray] or, for RGB, an *[image.RGBA]; its size is that of the file over the
// scale, rounded up. When ctx ends, so does the decoding, with ctx's error.
func Decode(ctx context.Context, data []byte, scale int) (image.Image, Checked, error) {
	if scale != 1 && scale != 2 && scale != 4 && scale != 8 {
		return nil, "", fmt.Errorf("decode at 1/%d: the scales are 1, 2, 4 and 8", scale)
	}
	return newDecoder(data, scale).decode(ctx)
}

// manyBlocks is the size of a component, of some 130,000 samples, from which on
// preparing its tables takes less time than it spares.
const manyBlocks = 2000

func (d *decoder) decode(ctx context.Context) (image.Image, Checked, error) {
	if err := d.segments(ctx); err != nil {
		return nil, "", err
	}
	m, err := d.picture()
	if err != nil {
		return nil, "", err
	}
	if d.stepped {
		return m, Partial, nil
	}
	return m, Full, nil
}

// decoder is what is known of the file so far.
type decoder struct {
	data []byte
	pos  int

	scale int
	side  int    // samples of a scaled block, across and down
	order *order // where the wanted coefficients go
	bits  bits

	width, height int
	columns, rows int // of MCUs in an interleaved scan
	baseline      bool
	progressive   bool
	components    []component // none until the frame header
	interval      int         // MCUs between restarts; 0 for none
	stepped       bool        // over a scan
	manyBlocks    int         // from which on it pays to step over several codes at once

	quant [4]*[64]uint16 // in zig-zag order
	dc    [4]*table
	ac    [4]*table

	jfif      bool
	adobe     bool
	transform byte // Adobe's
}

func newDecoder(data []byte, scale int) *decoder {
	side := 8 / scale
	return &decoder{data: data, scale: scale, side: side, order: newOrder(side), bits: bits{data: data}, manyBlocks: manyBlocks}
}

// component is one of the planes.
type component struct {
	id      byte
	tq      byte // its quantisation table
	h, v    int  // sampling factors
	columns int  // blocks of a scan of its own
	rows    int

	scanned bool        // its means are there
	factors *factors    // nil until its first scan
	pix     []byte      // padded to whole MCUs
	stride  int         //
	coded   *progressed // of a progressive picture
}

// scaled is the length of a side of n pixels after scaling.
func (d *decoder) scaled(n int) int { return (n + d.scale - 1) / d.scale }

// picture makes the image of the planes when all scans are read.
func (d *decoder) picture() (image.Image, error) {
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

// isRGB follows image/jpeg: no JFIF, and Adobe's transform 0 or the components R,
// G and B.
func (d *decoder) isRGB() bool {
	if d.jfif {
		return false
	}
	c := d.components
	return d.adobe && d.transform == 0 || c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B'
}

// interleave makes an RGB image of planes that are red, green and blue.
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
