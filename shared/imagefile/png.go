package imagefile

import (
	"encoding/binary"
	"math"
	"slices"
)

// The color types of PNG (third edition, 11.2.1).
const (
	pngGray      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGrayAlpha = 4
	pngRGBAlpha  = 6
)

// maxDeflateRatio is the maximum expansion of deflate: a pair of one-bit codes stands for at most 258 bytes.
const maxDeflateRatio = 1032

// pngWalk checks one PNG file.
type pngWalk struct {
	header    Header
	limits    Limits
	colorType byte
	samples   int   // samples per pixel
	palette   bool  // PLTE was seen, even if it does not count
	colors    int   // entries of a palette that counts
	tRNS      bool  // a transparency that counts
	pixels    int64 // bytes of compressed pixels
	idat      idat
}

// idat is the position of a walk relative to the IDAT chunks with the compressed pixels.
type idat int

const (
	beforePixels idat = iota
	inPixels
	afterPixels
)

// readPNG walks over the chunks of a PNG file from its signature to its IEND. Like libpng, and like the decoder, it
// accepts flaws that leave the image as it is: wrong checksums of chunks that can be ignored, a palette that the
// image does not need, and a transparency that does not fit, which does not count.
func readPNG(data []byte, limits Limits) (Header, error) {
	w := &pngWalk{
		limits: limits,
		header: Header{Scans: 1},
	}
	chunks := pngChunks{data: data, pos: len(pngMagic)}
	for first := true; ; first = false {
		c, err := chunks.next()
		if err != nil {
			return Header{}, err
		}
		kind := string(c.kind)
		if first && kind == "CgBI" {
			return Header{}, unsupportedPNG("CgBI (Apple's variant of PNG)")
		}
		if c.critical() && !c.sound(data) {
			return Header{}, damagedPNG("wrong checksum in chunk %s", c.kind)
		}
		if first != (kind == "IHDR") {
			return Header{}, damagedPNG("its IHDR chunk is not the first and only one")
		}
		if kind == "IEND" {
			if err := checkAppended(c.payload().Of(data)); err != nil {
				return Header{}, err
			}
			return w.end(data[chunks.pos:])
		}
		if err := w.visit(data, c); err != nil {
			return Header{}, err
		}
		w.header.noteChunk(data, c)
	}
}

func (w *pngWalk) visit(data []byte, c pngChunk) error {
	kind, payload := string(c.kind), c.payload().Of(data)
	if w.idat == inPixels && kind != "IDAT" {
		w.idat = afterPixels
	}
	switch kind {
	case "IHDR":
		return w.ihdr(payload)
	case "PLTE":
		return w.plte(payload)
	case "tRNS":
		if c.sound(data) {
			w.trns(payload)
		}
	case "IDAT":
		if w.colorType == pngPalette && !w.palette {
			return damagedPNG("its palette is missing")
		}
		// The decoder does not read IDAT chunks behind another chunk.
		if w.idat != afterPixels {
			w.idat = inPixels
			w.pixels += int64(len(payload))
		}
	case "acTL":
		// After the pixels it has no effect, so viewers show a still image.
		w.header.Animated = w.header.Animated || w.idat == beforePixels
	default:
		if c.critical() {
			return unsupportedPNG("unknown critical chunk " + kind)
		}
	}
	return nil
}

func (w *pngWalk) ihdr(b []byte) error {
	if len(b) != 13 {
		return damagedPNG("its IHDR chunk has the wrong length")
	}
	width, height := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if width == 0 || height == 0 || width > math.MaxInt32 || height > math.MaxInt32 {
		return damagedPNG("impossible size %d×%d", width, height)
	}
	w.header.Width, w.header.Height = int(width), int(height)
	w.header.BitDepth, w.colorType = int(b[8]), b[9]
	switch w.colorType {
	case pngGray, pngGrayAlpha:
		w.header.ColorModel = Gray
	case pngRGB, pngRGBAlpha:
		w.header.ColorModel = RGB
	case pngPalette:
		w.header.ColorModel = Palette
	}
	w.header.Alpha = w.colorType == pngGrayAlpha || w.colorType == pngRGBAlpha
	valid := false
	switch w.colorType {
	case pngGray:
		valid, w.samples = slices.Contains([]byte{1, 2, 4, 8, 16}, b[8]), 1
	case pngPalette:
		valid, w.samples = slices.Contains([]byte{1, 2, 4, 8}, b[8]), 1
	case pngGrayAlpha:
		valid, w.samples = slices.Contains([]byte{8, 16}, b[8]), 2
	case pngRGB:
		valid, w.samples = slices.Contains([]byte{8, 16}, b[8]), 3
	case pngRGBAlpha:
		valid, w.samples = slices.Contains([]byte{8, 16}, b[8]), 4
	}
	if !valid {
		return damagedPNG("impossible bit depth %d for colour type %d", b[8], b[9])
	}
	if b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return damagedPNG("unknown compression, filter or interlace method")
	}
	w.header.Interlaced = b[12] == 1
	return w.limits.checkSize(w.header.Width, w.header.Height)
}

// plte accepts one palette. It counts if it belongs to the image: that of a gray image does not, nor one behind
// the pixels or one of an impossible length that only suggests colors.
func (w *pngWalk) plte(b []byte) error {
	if w.palette {
		return damagedPNG("it has two palettes")
	}
	w.palette = true
	if w.idat != beforePixels || w.header.ColorModel == Gray {
		return nil
	}
	valid := len(b)%3 == 0 && len(b) <= 3*256
	if !valid && w.colorType != pngPalette {
		return nil
	}
	if !valid || len(b) == 0 {
		return damagedPNG("its palette has an impossible length")
	}
	w.colors = min(len(b)/3, 1<<w.header.BitDepth)
	w.setTransparency(false) // a tRNS chunk before the palette does not count
	return nil
}

// trns notes a transparency if it fits the image; the decoder ignores others.
func (w *pngWalk) trns(b []byte) {
	if w.tRNS || w.idat != beforePixels {
		return
	}
	switch w.colorType {
	case pngGray:
		w.setTransparency(len(b) == 2)
	case pngRGB:
		w.setTransparency(len(b) == 6)
	case pngPalette:
		w.setTransparency(len(b) > 0 && len(b) <= w.colors)
	}
}

func (w *pngWalk) setTransparency(has bool) {
	w.tRNS = has
	w.header.Alpha = has || w.colorType == pngGrayAlpha || w.colorType == pngRGBAlpha
}

// end checks the file as a whole after the IEND chunk and completes the header.
func (w *pngWalk) end(trailing []byte) (Header, error) {
	if w.idat == beforePixels {
		return Header{}, damagedPNG("holds no picture")
	}
	pixels := int64(w.header.Width) * int64(w.header.Height)
	raw := (pixels*int64(w.samples*w.header.BitDepth) + 7) / 8
	// If the pixels could not fit into the compressed bytes even at the maximum ratio, the decoder would
	// allocate the image and only then fail.
	if raw > w.pixels*maxDeflateRatio {
		return Header{}, damagedPNG("holds too little data for its size")
	}
	w.header.decodedBytes = pixels * w.bytesPerPixel()
	if w.header.Interlaced {
		w.header.decodedBytes *= 2 // the passes together are as large as the image
	}
	w.header.Trailing = len(trailing)
	return w.header, nil
}

// bytesPerPixel returns the memory of a pixel in image/png.
func (w *pngWalk) bytesPerPixel() int64 {
	deep := w.header.BitDepth == 16
	switch {
	case w.colorType == pngPalette:
		return 1
	case w.colorType == pngGray && !w.tRNS && deep:
		return 2
	case w.colorType == pngGray && !w.tRNS:
		return 1
	case deep:
		return 8
	default:
		return 4
	}
}
