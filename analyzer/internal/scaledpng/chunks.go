package scaledpng

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
)

const (
	signature = "\x89PNG\r\n\x1a\n"
	// frame is the length of a chunk without its payload: a length and a name before it, a checksum after it.
	frame = 12
)

// chunk is one chunk of a file.
type chunk struct {
	name    string
	payload []byte
	intact  bool // its checksum is right; only known for critical chunks and tRNS
}

// critical reports whether a decoder that does not know the chunk cannot show the image.
func critical(name string) bool { return name[0]&0x20 == 0 }

// chunks walks over the chunks of a file.
type chunks struct{ rest []byte }

// next returns the next chunk. As in libpng, a wrong checksum is an error only in a critical chunk.
func (c *chunks) next() (chunk, error) {
	if len(c.rest) < frame {
		return chunk{}, errCut
	}
	length := binary.BigEndian.Uint32(c.rest)
	name := c.rest[4:8]
	for _, b := range name {
		if b|0x20 < 'a' || b|0x20 > 'z' {
			return chunk{}, errName
		}
	}
	if length > math.MaxInt32 {
		return chunk{}, errLength
	}
	if int64(length) > int64(len(c.rest)-frame) {
		return chunk{}, errCut
	}
	covered, sum := c.rest[4:8+length], c.rest[8+length:]
	c.rest = c.rest[frame+length:]
	found := chunk{name: chunkName(name), payload: covered[4:]}
	if critical(found.name) || found.name == "tRNS" {
		found.intact = crc32.ChecksumIEEE(covered) == binary.BigEndian.Uint32(sum)
	}
	if critical(found.name) && !found.intact {
		return chunk{}, errChecksum
	}
	return found, nil
}

// chunkName returns the name without an allocation if it is one that this package knows.
func chunkName(name []byte) string {
	switch string(name) {
	case "IDAT":
		return "IDAT"
	case "tRNS":
		return "tRNS"
	case "IEND":
		return "IEND"
	default:
		if critical(string(name)) {
			return string(name)
		}
		return "ancillary"
	}
}

// The color types (PNG, third edition, 11.2.1).
const (
	gray      = 0
	rgb       = 2
	paletted  = 3
	grayAlpha = 4
	rgbAlpha  = 6
)

// header is what the chunks before the pixels say about them.
type header struct {
	width, height int
	depth         int // bits per sample
	colorType     byte
	interlaced    bool
	hasPalette    bool   // there was a PLTE chunk, even if it does not count
	palette       []byte // three bytes per entry
	transparency  []byte // payload of a valid tRNS chunk
}

// read reads the chunks up to the first one with pixels, whose payload it returns.
func (h *header) read(c *chunks) ([]byte, error) {
	first, err := c.next()
	if err != nil {
		return nil, err
	}
	if first.name == "CgBI" {
		return nil, errApple
	}
	if first.name != "IHDR" {
		return nil, errOrder
	}
	if err := h.ihdr(first.payload); err != nil {
		return nil, err
	}
	for {
		found, err := c.next()
		if err != nil {
			return nil, err
		}
		switch {
		case found.name == "PLTE":
			err = h.plte(found.payload)
		case found.name == "tRNS":
			h.trns(found)
		case found.name == "IDAT":
			if h.colorType == paletted && h.palette == nil {
				return nil, errNoPalette
			}
			return found.payload, nil
		case critical(found.name):
			err = misplaced(found.name)
		}
		if err != nil {
			return nil, err
		}
	}
}

// misplaced returns the error of a critical chunk that does not belong where it is.
func misplaced(name string) error {
	switch name {
	case "IHDR":
		return errOrder
	case "IEND":
		return errNoPixels
	case "PLTE":
		return errPalette
	default:
		return errCritical
	}
}

func (h *header) ihdr(b []byte) error {
	if len(b) != 13 {
		return errHeader
	}
	width, height := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if width == 0 || height == 0 || width > math.MaxInt32 || height > math.MaxInt32 {
		return errHeader
	}
	depths := map[byte][]byte{gray: {1, 2, 4, 8, 16}, rgb: {8, 16}, paletted: {1, 2, 4, 8}, grayAlpha: {8, 16}, rgbAlpha: {8, 16}}
	if !slices.Contains(depths[b[9]], b[8]) || b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return errHeader
	}
	if width > maxSide || height > maxSide {
		return errTooLong
	}
	h.width, h.height = int(width), int(height)
	h.depth, h.colorType, h.interlaced = int(b[8]), b[9], b[12] == 1
	return nil
}

// plte reads the palette. Like libpng, it ignores the palette of a gray image, a bad one of an RGB image, which
// only suggests colors, and entries that no pixel can refer to.
func (h *header) plte(b []byte) error {
	if h.hasPalette {
		return errPalette
	}
	h.hasPalette = true
	if h.colorType == gray || h.colorType == grayAlpha {
		return nil
	}
	if len(b)%3 != 0 || len(b) > 3*256 {
		if h.colorType == paletted {
			return errPalette
		}
		return nil
	}
	if len(b) == 0 {
		return errPalette
	}
	h.palette = b
	if h.colorType == paletted {
		h.palette = b[:min(len(b), 3<<h.depth)]
	}
	h.transparency = nil // a tRNS chunk before the palette does not count
	return nil
}

// trns reads the transparency. Like libpng, it ignores a chunk that does not fit the image or is damaged.
func (h *header) trns(c chunk) {
	if !c.intact || h.transparency != nil {
		return
	}
	valid := false
	switch h.colorType {
	case gray:
		valid = len(c.payload) == 2
	case rgb:
		valid = len(c.payload) == 6
	case paletted:
		valid = len(c.payload) > 0 && len(c.payload) <= len(h.palette)/3
	}
	if valid {
		h.transparency = c.payload
	}
}

// samples returns the number of samples of a pixel.
func (h *header) samples() int {
	return [...]int{gray: 1, rgb: 3, paletted: 1, grayAlpha: 2, rgbAlpha: 4}[h.colorType]
}

// rowBytes returns the length of a row of some pixels.
func (h *header) rowBytes(pixels int) int { return (pixels*h.samples()*h.depth + 7) / 8 }

// pixelBytes returns the distance of a byte from the one that filters call the left one.
func (h *header) pixelBytes() int { return max(1, h.samples()*h.depth/8) }
