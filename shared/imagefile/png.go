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
	samples   int  // samples per pixel
	palette   bool // PLTE was seen
	tRNS      bool
	idat      int64 // bytes of compressed pixels, -1 until the first IDAT
}

// readPNG walks over the chunks of a PNG file from its signature to its IEND and checks the CRC of each.
func readPNG(data []byte, limits Limits) (Header, error) {
	w := &pngWalk{
		limits: limits, idat: -1,
		header: Header{Scans: 1},
	}
	chunks := pngChunks{data: data, pos: len(pngMagic)}
	for first := true; ; first = false {
		c, err := chunks.next()
		if err != nil {
			return Header{}, err
		}
		if !c.sound(data) {
			return Header{}, damagedPNG("wrong checksum in chunk %s", c.kind)
		}
		if first != (string(c.kind) == "IHDR") {
			return Header{}, damagedPNG("its IHDR chunk is not the first and only one")
		}
		if string(c.kind) == "IEND" {
			if !c.payload().Empty() {
				return Header{}, damagedPNG("its IEND chunk is not empty")
			}
			return w.end(data[chunks.pos:])
		}
		if err := w.visit(string(c.kind), c.payload().Of(data)); err != nil {
			return Header{}, err
		}
		w.header.noteChunk(data, c, true)
	}
}

func (w *pngWalk) visit(kind string, payload []byte) error {
	switch kind {
	case "IHDR":
		return w.ihdr(payload)
	case "PLTE":
		return w.plte(payload)
	case "tRNS":
		return w.trns(payload)
	case "IDAT":
		if w.colorType == pngPalette && !w.palette {
			return damagedPNG("its palette is missing")
		}
		w.idat = max(w.idat, 0) + int64(len(payload))
	case "acTL":
		// After the pixels it has no effect, so viewers show a still image.
		w.header.Animated = w.header.Animated || w.idat < 0
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

func (w *pngWalk) plte(b []byte) error {
	if w.palette || w.tRNS || w.idat >= 0 {
		return damagedPNG("its palette is not where it belongs")
	}
	entries := len(b) / 3
	if len(b)%3 != 0 || entries == 0 || entries > 256 || entries > 1<<w.header.BitDepth {
		return damagedPNG("its palette has an impossible length")
	}
	if w.header.ColorModel == Gray {
		return damagedPNG("a grey picture with a palette")
	}
	w.palette = true
	return nil
}

func (w *pngWalk) trns(b []byte) error {
	if w.tRNS || w.idat >= 0 || (w.colorType == pngPalette && !w.palette) {
		return damagedPNG("its transparency is not where it belongs")
	}
	valid := false
	switch w.colorType {
	case pngGray:
		valid = len(b) == 2
	case pngRGB:
		valid = len(b) == 6
	case pngPalette:
		valid = len(b) <= 256
	}
	if !valid {
		return damagedPNG("its transparency does not fit its colours")
	}
	w.tRNS, w.header.Alpha = true, true
	return nil
}

// end checks the file as a whole after the IEND chunk and completes the header.
func (w *pngWalk) end(trailing []byte) (Header, error) {
	if w.idat < 0 {
		return Header{}, damagedPNG("holds no picture")
	}
	pixels := int64(w.header.Width) * int64(w.header.Height)
	raw := (pixels*int64(w.samples*w.header.BitDepth) + 7) / 8
	// If the pixels could not fit into the compressed bytes even at the maximum ratio, the decoder would
	// allocate the image and only then fail.
	if raw > w.idat*maxDeflateRatio {
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
