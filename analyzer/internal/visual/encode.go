package visual

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math/bits"
)

// image/jpeg needs twice as long for a thumbnail, which was a sixth of the time of describing a photo of 2 megapixels:
// it calls functions for each pixel and divides each coefficient. The bytes here are the ones that it writes in Go
// 1.26. The headers and the tables come from an image of one pixel that it encodes.

const (
	markerSOF0, markerDHT, markerSOS, markerEOI, markerDQT = 0xc0, 0xc4, 0xda, 0xd9, 0xdb

	mcu = 16 // pixels of the unit that is encoded as four blocks of luma and two of chroma
)

// halfColor encodes an opaque image as a baseline JPEG with one color for 2×2 pixels (4:2:0).
func halfColor(m *image.RGBA, quality int) ([]byte, error) {
	e, err := newEncoder(m.Rect.Size(), quality)
	if err != nil {
		return nil, err
	}
	p := planesOf(m)
	var last [3]int32
	for y := 0; y < p.height; y += mcu {
		for x := 0; x < p.width; x += mcu {
			four, at := p.y[y*p.width+x:], (y*p.width/2+x)/2
			last[0] = e.block(four, p.width, 0, last[0])
			last[0] = e.block(four[8:], p.width, 0, last[0])
			last[0] = e.block(four[8*p.width:], p.width, 0, last[0])
			last[0] = e.block(four[8*p.width+8:], p.width, 0, last[0])
			last[1] = e.block(p.cb[at:], p.width/2, 1, last[1])
			last[2] = e.block(p.cr[at:], p.width/2, 1, last[2])
		}
	}
	e.emit(0x7f, 7) // fills the last byte
	return append(e.written(), 0xff, markerEOI), nil
}

// planes are the samples of an image, padded to whole units by repeating its last column and row.
type planes struct {
	width, height int
	y             []byte
	cb, cr        []byte // half as wide and high
}

// planesOf converts pixels as [image/color.RGBToYCbCr] does, and averages chroma.
func planesOf(m *image.RGBA) planes {
	size := m.Rect.Size()
	p := planes{width: (size.X + mcu - 1) / mcu * mcu, height: (size.Y + mcu - 1) / mcu * mcu}
	p.y, p.cb, p.cr = make([]byte, p.width*p.height), make([]byte, p.width*p.height/4), make([]byte, p.width*p.height/4)
	row, sums := make([]byte, 4*p.width), make([]uint64, p.width/2)
	for y := range p.height {
		copy(row, m.Pix[min(y, size.Y-1)*m.Stride:][:4*size.X])
		for x := size.X; x < p.width; x++ {
			copy(row[4*x:], row[4*size.X-4:4*size.X])
		}
		ys := p.y[y*p.width:][:p.width]
		for x := range sums {
			in, out := row[8*x:8*x+8:8*x+8], ys[2*x:2*x+2:2*x+2]
			out[0], out[1] = luma(in[0], in[1], in[2]), luma(in[4], in[5], in[6])
			sums[x] += chroma(in[0], in[1], in[2]) + chroma(in[4], in[5], in[6])
		}
		if y%2 == 1 {
			cb, cr := p.cb[y/2*len(sums):][:len(sums)], p.cr[y/2*len(sums):][:len(sums)]
			for x, sum := range sums {
				sum += 2<<32 + 2
				cb[x], cr[x] = byte(sum>>2), byte(sum>>34)
			}
			clear(sums)
		}
	}
	return p
}

func luma(r, g, b byte) byte {
	return byte((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
}

// chroma returns two samples in one word: blue, and red multiplied by 1<<32. Both sums in the word are positive, so
// that their lanes do not affect each other.
func chroma(r, g, b byte) uint64 {
	const (
		lanes  = 1<<32 + 1
		forR   = 32768<<32 - 11056
		forG   = 27440<<32 + 21712 // subtracted
		forB   = 5328<<32 - 32768  // subtracted
		middle = 257 << 15 * lanes
	)
	v := (middle + forR*uint64(r) - forG*uint64(g) - forB*uint64(b)) >> 16 & (511 * lanes)
	return v - v>>8&lanes // 256 becomes 255
}

// encoder writes blocks of luma, kind 0, and of chroma, kind 1.
type encoder struct {
	out   []byte
	acc   uint64 // bits that are not in out yet, the last ones lowest
	n     uint   // number of these bits
	steps [2][64]step
	codes [2][2][256]code // for each kind those of DC and of AC coefficients
	b     [64]int32
}

// step quantizes a coefficient.
type step struct {
	place         byte  // its position in a block
	least         int32 // least value that does not become 0
	half, inverse uint64
}

// code is a Huffman code.
type code struct {
	bits   uint16
	length uint8
}

// newEncoder returns an encoder that has written the headers for an image of a size.
func newEncoder(size image.Point, quality int) (*encoder, error) {
	var sample bytes.Buffer
	if err := jpeg.Encode(&sample, image.NewRGBA(image.Rect(0, 0, 1, 1)), &jpeg.Options{Quality: quality}); err != nil {
		return nil, err //nolint:wrapcheck // The caller wraps it.
	}
	e := &encoder{out: make([]byte, 0, 16<<10)}
	data := sample.Bytes()
	for at := 2; at+4 <= len(data); { // behind the start-of-image marker
		marker, end := data[at+1], at+2+int(binary.BigEndian.Uint16(data[at+2:]))
		segment := data[at+4 : end]
		switch marker {
		case markerDQT:
			e.quantize(segment)
		case markerSOF0:
			binary.BigEndian.PutUint16(segment[1:], uint16(size.Y))
			binary.BigEndian.PutUint16(segment[3:], uint16(size.X))
		case markerDHT:
			e.assignCodes(segment)
		case markerSOS:
			e.out = append(e.out, data[:end]...)
			return e, nil
		}
		at = end
	}
	return nil, fmt.Errorf("no scan in a JPEG of %d bytes", len(data))
}

// quantize reads quantization tables (T.81, B.2.4.1).
func (e *encoder) quantize(segment []byte) {
	for ; len(segment) >= 65; segment = segment[65:] {
		steps := &e.steps[segment[0]&1]
		for k, place := range zigZag {
			size := 8 * uint64(segment[1+k]) // the transform returns eight times the coefficients
			steps[k] = step{place: place, least: int32(size - size/2), half: size / 2, inverse: 1<<32/size + 1}
		}
	}
}

// assignCodes reads the Huffman tables (T.81, B.2.4.2 and annex C).
func (e *encoder) assignCodes(segment []byte) {
	for len(segment) > 0 {
		codes := &e.codes[segment[0]&1][segment[0]>>4]
		counts, symbols := segment[1:17], segment[17:]
		next := uint16(0)
		for i, count := range counts {
			for _, symbol := range symbols[:count] {
				codes[symbol] = code{next, uint8(i + 1)}
				next++
			}
			symbols = symbols[count:]
			next <<= 1
		}
		segment = symbols
	}
}

// block writes the 8×8 samples at the start of pix (T.81, F.1.2) and returns their DC coefficient. last is the one of the
// block before.
func (e *encoder) block(pix []byte, stride, kind int, last int32) int32 {
	forward(&e.b, pix, stride)
	codes := &e.codes[kind]
	steps := &e.steps[kind]
	dc := steps[0].of(e.b[0])
	e.value(&codes[0], 0, dc-last)
	run := 0
	for k := 1; k < len(steps); k++ {
		s := &steps[k]
		v := e.b[s.place&63]
		if v < s.least && v > -s.least {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			e.emit(uint32(codes[1][0xf0].bits), uint(codes[1][0xf0].length))
		}
		e.value(&codes[1], run, s.of(v))
		run = 0
	}
	if run > 0 {
		e.emit(uint32(codes[1][0].bits), uint(codes[1][0].length))
	}
	return dc
}

// of returns the quantized value, rounded to the nearest one. Values have at most 14 bits and steps 11, so that the
// rounding of the inverse, less than 1/2^32, does not change the quotient.
func (s *step) of(v int32) int32 {
	sign := v >> 31
	quotient := int32((uint64((v^sign)-sign) + s.half) * s.inverse >> 32)
	return (quotient ^ sign) - sign
}

// value writes the code of a value that follows a run of zeros, and the bits of the value.
func (e *encoder) value(codes *[256]code, run int, v int32) {
	sign := v >> 31
	size := uint(bits.Len32(uint32((v ^ sign) - sign)))
	c := codes[(uint(run)<<4|size)&255]
	e.emit(uint32(c.bits)<<size|uint32(v+sign)&(1<<size-1), uint(c.length)+size)
}

// emit writes the lowest n bits of v; at most 32.
func (e *encoder) emit(v uint32, n uint) {
	e.acc = e.acc<<n | uint64(v)
	if e.n += n; e.n >= 32 {
		e.out = e.written()
	}
}

// written moves all whole bytes of acc to out, and returns it.
func (e *encoder) written() []byte {
	for ; e.n >= 8; e.n -= 8 {
		b := byte(e.acc >> (e.n - 8))
		e.out = append(e.out, b)
		if b == 0xff {
			e.out = append(e.out, 0)
		}
	}
	return e.out
}
