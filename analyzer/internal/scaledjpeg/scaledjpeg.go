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
// It accepts the baseline, extended sequential and progressive images that libjpeg-turbo accepts, in gray,
// YCbCr, RGB, CMYK or YCCK, and reads them as libjpeg-turbo does: with all sampling factors that divide the
// largest ones, with the Huffman tables of T.81's annex K where a sequential image has none, with component
// identifiers that occur several times, with empty segments and stray bytes between segments. It uses no more
// memory than the scaled planes (five times that for a progressive image), 100 kB of tables and, for RGB, CMYK
// and rare sampling factors, four bytes for each pixel of the scaled image. At full size, each sample is within
// 1 of exact arithmetic.
//
// A damaged image fails. In a decoded scan every bad code, every coefficient beyond its block and an early end
// are errors, of the types [FormatError] and [UnsupportedError]. In a skipped scan only the structure is
// checked: the markers, the number and order of the restarts, the end of the image. [Partial] reports that
// there was a skipped scan. An image whose scans are all complete may lack its end-of-image marker; other data
// may follow it instead.
//
// It rejects two components and more than four, 12 bits, lossless, hierarchical and arithmetic coding. Unlike
// libjpeg-turbo, it accepts a height that only follows the first scan, as T.81 allows.
package scaledjpeg

import (
	"context"
	"fmt"
	"image"
)

// Checked is the part of the entropy-coded data that was decoded, and thereby checked.
type Checked string

// Full means every scan; Partial means some scans of a progressive image.
const (
	Full    Checked = "full"
	Partial Checked = "partial"
)

// Decode decodes the JPEG file data at 1/scale of its size; scale is 1, 2, 4 or 8. The image is an
// *[image.YCbCr], an *[image.Gray], an *[image.RGBA] for RGB or an *[image.CMYK]; its size is the file's divided
// by the scale, rounded up. A YCbCr image has the subsampling of the file if image.YCbCr has a name for it,
// otherwise none. When ctx ends, Decode returns ctx's error.
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
	side  int // samples of a scaled block, across and down
	bits  bits

	width, height int
	maxH, maxV    int // largest sampling factors
	columns, rows int // MCUs of an interleaved scan
	progressive   bool
	components    []component // none until the frame header
	interval      int         // MCUs between restarts; 0 for none
	scans         int         // scans so far
	inScan        bool        // a scan has started and is not complete
	skipped       bool        // a scan was skipped
	unterminated  bool        // a progressive file without an end-of-image marker, whose scans are all decoded
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
	return &decoder{data: data, scale: scale, side: side, bits: bits{data: data}, manyBlocks: manyBlocks}
}

// component is one of the planes.
type component struct {
	id      byte
	tq      byte // number of its quantization table
	h, v    int  // sampling factors
	columns int  // blocks per row in a scan of its own
	rows    int

	side         int    // samples of a scaled block; more than the decoder's if the plane would be too small
	order        *order // positions of the wanted coefficients
	across, down int    // pixels of the scaled image that a sample stands for

	scanned bool        // its DC coefficients have been read
	exact   uint64      // a bit for each coefficient of a progressive image that has been read to its last bit
	factors *factors    // nil until its first scan
	pix     []byte      // padded to whole MCUs
	stride  int         //
	coded   *progressed // only for a progressive image
}

// scaled returns the length of a side of n pixels after scaling.
func (d *decoder) scaled(n int) int { return (n + d.scale - 1) / d.scale }
