package scaledpng

import "encoding/binary"

// The sizes of the buffer of compressed bytes.
const (
	// staged is the amount of compressed data that is copied at a time.
	staged = 16 << 10
	// readAhead is an upper bound on the bytes that are read after a check of limit: two words, and what the
	// words before them had read ahead at the end of the data.
	readAhead = 32
)

// input reads the compressed data, which may be spread over many chunks, as one stream of bits. The data is
// copied to one buffer so that the reader needs no care at the edges of chunks: zeros follow the last byte.
type input struct {
	next func() ([]byte, error) // returns the next piece of the data, empty at the end

	rest  []byte // of the current piece
	ended bool

	buf   [staged + readAhead]byte
	pos   int // first byte that is not in acc
	end   int // end of the data in buf; zeros follow it once the data has ended
	limit int // a code may start while pos <= limit

	acc uint64 // the next bits, least significant first
	n   uint   // number of bits in acc that count
}

func newInput(next func() ([]byte, error)) *input {
	return &input{next: next, limit: -1}
}

// more ensures that the buffer contains enough data for one code, or the rest of the data followed by zeros. It
// fails if the reads so far went beyond the end.
func (in *input) more() error {
	if in.pos <= in.limit {
		return nil
	}
	if in.ended {
		return in.checkEnd()
	}
	// What is in acc stays in the buffer for unread.
	kept := min(in.pos, wide)
	in.end = copy(in.buf[:], in.buf[in.pos-kept:in.end])
	in.pos = kept
	for in.end < staged && !in.ended {
		if len(in.rest) == 0 {
			piece, err := in.next()
			if err != nil {
				return err
			}
			in.rest, in.ended = piece, len(piece) == 0
		}
		n := copy(in.buf[in.end:staged], in.rest)
		in.end += n
		in.rest = in.rest[n:]
	}
	in.limit = in.end - readAhead
	if in.ended {
		clear(in.buf[in.end:])
		in.limit = in.end - 1
	}
	return nil
}

// checkEnd fails if more bits were read than there are.
func (in *input) checkEnd() error {
	if in.ended && 8*in.pos-int(in.n) > 8*in.end {
		return errShort
	}
	return nil
}

// fill ensures that acc has at least 56 bits.
func (in *input) fill() error {
	if in.pos > in.limit {
		if err := in.more(); err != nil {
			return err
		}
	}
	in.acc |= binary.LittleEndian.Uint64(in.buf[in.pos:]) << (in.n & 63)
	in.pos += int((63 - in.n) >> 3)
	in.n |= 56
	return nil
}

// take returns the next n bits of acc, at most 32; call fill first.
func (in *input) take(n uint) uint32 {
	v := uint32(in.acc & (1<<(n&63) - 1))
	in.drop(n)
	return v
}

// drop skips n bits of acc.
func (in *input) drop(n uint) {
	in.acc >>= n & 63
	in.n -= n
}

// align skips the rest of a byte.
func (in *input) align() { in.drop(in.n & 7) }

// unread moves the whole bytes of acc back to the buffer; call it where the stream is aligned.
func (in *input) unread() {
	in.pos -= int(in.n / 8)
	in.acc, in.n = 0, 0
}

// bytes returns up to n of the next bytes, at least one; call unread first.
func (in *input) bytes(n int) ([]byte, error) {
	if in.pos >= in.end {
		if err := in.more(); err != nil {
			return nil, err
		}
		if in.pos >= in.end {
			return nil, errShort
		}
	}
	part := in.buf[in.pos:min(in.end, in.pos+n)]
	in.pos += len(part)
	return part, nil
}
