package scaledjpeg

import (
	"bytes"
	"encoding/binary"
)

const (
	// chunk is the amount of entropy-coded data whose stuffed bytes are removed in one pass.
	chunk = 8 << 10
	// longestBlock is an upper bound on the bytes of one block: 63 times a code of 16 bits and a value of 15,
	// the same for the DC coefficient, and the word that is read ahead of them.
	longestBlock = 264
)

// bits reads the entropy-coded data between two markers. All reads of a block happen between two calls of more,
// so that only the codes themselves need to be checked.
type bits struct {
	data  []byte // the file
	from  int    // offset where data continues
	ended bool   // at a marker or at the end of the file

	buf   [chunk + longestBlock + 16]byte // the data without its stuffed bytes
	pos   int                             // first byte that is not in acc
	end   int                             // end of the data in buf; zeros follow it
	limit int                             // a block may start while pos <= limit

	acc uint64 // the next bits, most significant first
	n   uint   // number of bits in acc that count
}

// begin starts reading the entropy-coded data at from.
func (b *bits) begin(from int) {
	b.from, b.ended = from, false
	b.pos, b.end, b.limit = 0, 0, -1
	b.acc, b.n = 0, 0
}

// more ensures that the buffer contains a block's length of data, or the rest of the data followed by zeros. It
// fails if the reads so far went beyond the end.
func (b *bits) more() error {
	if b.pos <= b.limit {
		return nil
	}
	if b.ended {
		return b.checkEnd()
	}
	b.end = copy(b.buf[:], b.buf[b.pos:b.end])
	b.pos = 0
	for b.end < chunk && !b.ended {
		rest := b.data[b.from:]
		rest = rest[:min(len(rest), chunk-b.end)]
		n := bytes.IndexByte(rest, 0xff)
		whole := n < 0
		if whole {
			n = len(rest)
		}
		b.end += copy(b.buf[b.end:], rest[:n])
		b.from += n
		switch {
		case whole:
			b.ended = b.from == len(b.data)
		case b.from+1 < len(b.data) && b.data[b.from+1] == 0:
			b.buf[b.end] = 0xff
			b.end++
			b.from += 2
		case b.from+1 < len(b.data) && b.data[b.from+1] == 0xff: // a fill byte
			b.from++
		default:
			b.ended = true
		}
	}
	b.limit = b.end - longestBlock
	if b.ended {
		clear(b.buf[b.end:][:longestBlock+16])
		b.limit = b.end
	}
	return nil
}

// checkEnd fails if more bits were read than there are.
func (b *bits) checkEnd() error {
	if b.ended && 8*b.pos-int(b.n) > 8*b.end {
		return errShort
	}
	return nil
}

// fill ensures that acc has 56 bits.
func (b *bits) fill() { b.acc, b.n, b.pos = b.refilled(b.acc, b.n, b.pos) }

// refilled does the same with a state in variables.
func (b *bits) refilled(acc uint64, n uint, pos int) (uint64, uint, int) {
	return acc | binary.BigEndian.Uint64(b.buf[pos:])>>(n&63), n | 56, pos + int((63-n)>>3)
}

// take returns the next n bits of acc, at most 16.
func (b *bits) take(n uint) uint32 {
	v := uint32(b.acc >> 1 >> ((63 - n) & 63))
	b.acc <<= n & 63
	b.n -= n
	return v
}

// symbol decodes one code of at most 16 bits; call fill first.
func (b *bits) symbol(t *table) (byte, error) {
	e := t.first[b.acc>>(64-firstBits)]
	if e == 0 {
		if e = t.long(b.acc); e == 0 {
			return 0, errBadCode
		}
	}
	b.acc <<= e & 63
	b.n -= uint(e & 63)
	return byte(e >> 8), nil
}

// value reads a signed value of size bits, at most 16 (T.81, F.2.2.1, RECEIVE and EXTEND).
func (b *bits) value(size uint) int32 {
	v := extend(b.acc, size)
	b.acc <<= size & 63
	b.n -= size
	return v
}

// extend returns the signed value in the top size bits of acc: values that start with 0 are negative.
func extend(acc uint64, size uint) int32 {
	negative := uint32(^(int64(acc) >> 63))
	return int32(uint32(acc>>1>>((63-size)&63)) - (1<<(size&31)-1)&negative)
}
