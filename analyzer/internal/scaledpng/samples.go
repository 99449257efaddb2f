package scaledpng

import (
	"encoding/binary"
	"image/color"
)

// sampler converts rows to samples of eight bits whose means are those of the image: gray, gray and alpha, red,
// green and blue, or these and alpha. Colors are multiplied by alpha.
type sampler struct {
	channels int
	convert  func(row []byte, pixels int) []byte
}

// newSampler returns the sampler of an image. The samples that it returns are valid until its next call; spare
// bytes follow them.
func newSampler(h *header) *sampler {
	buf := make([]byte, 4*h.width+spare)
	switch {
	case h.colorType == paletted:
		return paletteSampler(h, buf)
	case h.depth < 8:
		return smallGraySampler(h, buf)
	case h.depth == 16:
		return deepSampler(h, buf)
	case h.colorType == grayAlpha:
		return &sampler{2, func(row []byte, pixels int) []byte { return premultiplyGray(buf, row[:2*pixels]) }}
	case h.colorType == rgbAlpha:
		return &sampler{4, func(row []byte, pixels int) []byte { return premultiply(buf, row[:4*pixels]) }}
	case h.transparency == nil:
		n := h.samples()
		return &sampler{n, func(row []byte, pixels int) []byte { return row[:n*pixels] }}
	case h.colorType == gray:
		key := h.transparency[1]
		return &sampler{2, func(row []byte, pixels int) []byte { return keyGray(buf, row[:pixels], key) }}
	default:
		key := [3]byte{h.transparency[1], h.transparency[3], h.transparency[5]}
		return &sampler{4, func(row []byte, pixels int) []byte { return keyRGB(buf, row[:3*pixels], key) }}
	}
}

// premultiply multiplies a row of straight RGBA by its alpha into buf. It returns an opaque row unchanged.
func premultiply(buf, row []byte) []byte {
	if opaque(row) {
		return row
	}
	buf = buf[:len(row)]
	for i := 0; i+4 <= len(row) && i+4 <= len(buf); i += 4 {
		p := binary.LittleEndian.Uint32(row[i:])
		alpha := p >> 24
		if alpha < 255 {
			// The products of red and blue, and of green, divided by 255 and rounded.
			redBlue := p&0xff00ff*alpha + 0x800080
			green := p>>8&0xff*alpha + 0x80
			redBlue = (redBlue + redBlue>>8&0xff00ff) >> 8 & 0xff00ff
			green = (green + green>>8) & 0xff00
			p = redBlue | green | alpha<<24
		}
		binary.LittleEndian.PutUint32(buf[i:], p)
	}
	return buf
}

// opaque reports whether every alpha of a row of RGBA is 255.
func opaque(row []byte) bool {
	const two = 0xff000000ff000000
	all := uint64(two)
	for ; len(row) >= wide; row = row[wide:] {
		all &= binary.LittleEndian.Uint64(row)
	}
	return all&two == two && (len(row) < 4 || row[3] == 255)
}

func premultiplyGray(buf, row []byte) []byte {
	buf = buf[:len(row)]
	for i := 0; i+2 <= len(row); i += 2 {
		alpha := uint32(row[i+1])
		buf[i], buf[i+1] = uint8((uint32(row[i])*alpha+127)/255), row[i+1]
	}
	return buf
}

// keyGray returns gray with alpha, which is 0 where the gray is the key.
func keyGray(buf, row []byte, key byte) []byte {
	buf = buf[:2*len(row)]
	for x, v := range row {
		p := buf[2*x : 2*x+2 : 2*x+2]
		if v == key {
			p[0], p[1] = 0, 0
		} else {
			p[0], p[1] = v, 255
		}
	}
	return buf
}

// keyRGB returns RGB with alpha, which is 0 where the color is the key.
func keyRGB(buf, row []byte, key [3]byte) []byte {
	pixels := len(row) / 3
	for x := range pixels {
		from, p := row[3*x:3*x+3:3*x+3], buf[4*x:4*x+4:4*x+4]
		if from[0] == key[0] && from[1] == key[1] && from[2] == key[2] {
			p[0], p[1], p[2], p[3] = 0, 0, 0, 0
		} else {
			p[0], p[1], p[2], p[3] = from[0], from[1], from[2], 255
		}
	}
	return buf[:4*pixels]
}

// unpacked returns what each byte of a row stands for: up to eight samples of fewer than eight bits, multiplied
// by a factor.
func unpacked(depth int, factor byte) *[256]uint64 {
	var table [256]uint64
	for b := range table {
		for i := range 8 / depth {
			sample := byte(b) << (i * depth) >> (8 - depth)
			table[b] |= uint64(sample*factor) << (8 * i)
		}
	}
	return &table
}

// unpack writes one byte for each sample of a row to buf, which needs room for wide more.
func unpack(buf, row []byte, table *[256]uint64, depth int) {
	x := 0
	for _, b := range row {
		binary.LittleEndian.PutUint64(buf[x:], table[b])
		x += 8 / depth
	}
}

func smallGraySampler(h *header, buf []byte) *sampler {
	most := byte(1<<h.depth - 1)
	table, depth := unpacked(h.depth, 255/most), h.depth
	samples := make([]byte, h.width+spare)
	grays := func(row []byte, pixels int) []byte {
		unpack(samples, row[:(pixels*depth+7)/8], table, depth)
		return samples[:pixels]
	}
	if h.transparency == nil {
		return &sampler{1, grays}
	}
	key := h.transparency[1] & most * (255 / most)
	return &sampler{2, func(row []byte, pixels int) []byte { return keyGray(buf, grays(row, pixels), key) }}
}

func paletteSampler(h *header, buf []byte) *sampler {
	colors, depth := paletteColors(h), h.depth
	indices := func(row []byte, pixels int) []byte { return row[:pixels] }
	if depth < 8 {
		table, samples := unpacked(depth, 1), make([]byte, h.width+spare)
		indices = func(row []byte, pixels int) []byte {
			unpack(samples, row[:(pixels*depth+7)/8], table, depth)
			return samples[:pixels]
		}
	}
	channels := 3
	if h.transparency != nil {
		channels = 4
	}
	return &sampler{channels, func(row []byte, pixels int) []byte {
		at := 0
		for _, i := range indices(row, pixels) {
			binary.LittleEndian.PutUint32(buf[at:], colors[i])
			at += channels
		}
		return buf[:at]
	}}
}

// paletteColors returns the palette as premultiplied RGBA, red least significant. As in libpng and image/png,
// an index beyond the palette is opaque black.
func paletteColors(h *header) *[256]uint32 {
	var colors [256]uint32
	for i := range colors {
		c := color.NRGBA{A: 255}
		if 3*i < len(h.palette) {
			c.R, c.G, c.B = h.palette[3*i], h.palette[3*i+1], h.palette[3*i+2]
		}
		if i < len(h.transparency) {
			c.A = h.transparency[i]
		}
		r, g, b, a := c.RGBA()
		colors[i] = r>>8 | g>>8<<8 | b>>8<<16 | a>>8<<24
	}
	return &colors
}

// deepSampler returns the sampler of an image with 16 bits per sample, of which the higher eight count. Colors
// are multiplied by alpha before that.
func deepSampler(h *header, buf []byte) *sampler {
	n := h.samples()
	switch {
	case h.colorType == grayAlpha || h.colorType == rgbAlpha:
		return &sampler{n, func(row []byte, pixels int) []byte { return premultiplyDeep(buf, row[:2*n*pixels], n) }}
	case h.transparency != nil:
		key := string(h.transparency)
		return &sampler{n + 1, func(row []byte, pixels int) []byte { return keyDeep(buf, row[:2*n*pixels], key) }}
	default:
		return &sampler{n, func(row []byte, pixels int) []byte {
			for i := range n * pixels {
				buf[i] = row[2*i]
			}
			return buf[:n*pixels]
		}}
	}
}

// premultiplyDeep multiplies the samples of each pixel by the last of them.
func premultiplyDeep(buf, row []byte, channels int) []byte {
	size := 2 * channels
	at := 0
	for ; len(row) >= size; row = row[size:] {
		alpha := uint32(binary.BigEndian.Uint16(row[size-2:]))
		for c := range channels - 1 {
			buf[at] = uint8(uint32(binary.BigEndian.Uint16(row[2*c:])) * alpha / 0xffff >> 8)
			at++
		}
		buf[at] = uint8(alpha >> 8)
		at++
	}
	return buf[:at]
}

// keyDeep adds an alpha to each pixel, which is 0 where the color is the key.
func keyDeep(buf, row []byte, key string) []byte {
	at := 0
	for ; len(row) >= len(key); row = row[len(key):] {
		alpha := byte(255)
		if string(row[:len(key)]) == key {
			alpha = 0
		}
		for c := 0; c < len(key); c += 2 {
			buf[at] = row[c] & alpha
			at++
		}
		buf[at] = alpha
		at++
	}
	return buf[:at]
}
