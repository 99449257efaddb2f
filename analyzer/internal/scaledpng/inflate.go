package scaledpng

import (
	"cmp"
	"encoding/binary"
)

const (
	windowSize   = 32 << 10 // the farthest that deflate refers back
	longestMatch = 258
	// slack is the room for one match, three literals and what a copy by words writes beyond its end, and for
	// what is read behind a row.
	slack = longestMatch + 16 + spare
)

// blockKind is the kind of the current block.
type blockKind int

const (
	noBlock blockKind = iota
	storedBlock
	codedBlock
	behindLast
)

// inflater decompresses a zlib stream (RFC 1950, RFC 1951) into a window.
type inflater struct {
	in   *input
	out  []byte // the window
	pos  int    // end of the decompressed bytes in out
	kind blockKind
	last bool   // the current block is the last one
	left int    // bytes left of a stored block
	use  *codes // the tables of the current block
	own  *codes // the tables of the last block that brought its own
}

// header reads the header of the stream.
func (z *inflater) header() error {
	if err := z.in.fill(); err != nil {
		return err
	}
	h := z.in.take(16)
	method, window, dictionary := h&15, h>>4&15, h>>13&1
	if method != 8 || window > 7 || dictionary != 0 || (h&255<<8|h>>8)%31 != 0 {
		return cmp.Or(z.in.checkEnd(), error(errZlib))
	}
	return nil
}

// more decompresses until the window is full or the stream ends.
func (z *inflater) more() error {
	for z.pos < len(z.out)-slack && z.kind != behindLast {
		var err error
		switch z.kind {
		case noBlock:
			err = z.startBlock()
		case storedBlock:
			err = z.copyStored()
		case codedBlock:
			err = z.decode()
		}
		if err != nil {
			return cmp.Or(z.in.checkEnd(), err) // behind the end of the data, anything is wrong
		}
	}
	return z.in.checkEnd()
}

func (z *inflater) startBlock() error {
	if err := z.in.fill(); err != nil {
		return err
	}
	z.last = z.in.take(1) == 1
	switch z.in.take(2) {
	case 0:
		return z.startStored()
	case 1:
		z.kind, z.use = codedBlock, fixedCodes()
		return nil
	case 2:
		z.kind, z.use = codedBlock, z.own
		return z.readCodes()
	default:
		return errBlock
	}
}

func (z *inflater) endBlock() {
	z.kind = noBlock
	if z.last {
		z.kind = behindLast
	}
}

func (z *inflater) startStored() error {
	z.in.align()
	if err := z.in.fill(); err != nil {
		return err
	}
	length := z.in.take(16)
	if length^0xffff != z.in.take(16) {
		return errStored
	}
	z.in.unread()
	z.kind, z.left = storedBlock, int(length)
	return nil
}

func (z *inflater) copyStored() error {
	for z.left > 0 {
		room := len(z.out) - slack - z.pos
		if room <= 0 {
			return nil
		}
		part, err := z.in.bytes(min(room, z.left))
		if err != nil {
			return err
		}
		z.pos += copy(z.out[z.pos:], part)
		z.left -= len(part)
	}
	z.endBlock()
	return nil
}

// lengthOrder is the order in which a block lists the lengths of the codes of its code lengths.
var lengthOrder = [numLengths]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodes reads the codes of a block that brings its own.
func (z *inflater) readCodes() error {
	if err := z.in.fill(); err != nil {
		return err
	}
	nLiterals, nDistances, nLengths := int(z.in.take(5))+257, int(z.in.take(5))+1, int(z.in.take(4))+4
	if nLiterals > numLiterals || nDistances > numDistance {
		return errCodes
	}
	var ofLengths [numLengths]uint8
	for _, s := range lengthOrder[:nLengths] {
		if err := z.in.fill(); err != nil {
			return err
		}
		ofLengths[s] = uint8(z.in.take(3))
	}
	var table [1 << lengthBits]entry
	if err := build(table[:], lengthBits, ofLengths[:], lengthMeanings[:], true); err != nil {
		return err
	}
	var lengths [numLiterals + numDistance]uint8
	all := lengths[:nLiterals+nDistances]
	if err := z.readLengths(all, &table); err != nil {
		return err
	}
	if all[256] == 0 {
		return errCodes
	}
	if err := build(z.own.literals[:], literalBits, all[:nLiterals], literalMeanings[:], false); err != nil {
		return err
	}
	joinLiterals(z.own.literals[:], literalBits)
	return build(z.own.distances[:], distanceBits, all[nLiterals:], distanceMeanings[:], false)
}

// readLengths reads the lengths of all codes of a block.
func (z *inflater) readLengths(lengths []uint8, table *[1 << lengthBits]entry) error {
	for i := 0; i < len(lengths); {
		if err := z.in.fill(); err != nil {
			return err
		}
		e := table[z.in.acc&(1<<lengthBits-1)]
		if e&special != 0 {
			return errCodes
		}
		z.in.drop(dropped(e))
		symbol := uint8(e)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		value, n := uint8(0), 0
		switch symbol {
		case 16:
			if i == 0 {
				return errCodes
			}
			value, n = lengths[i-1], int(z.in.take(2))+3
		case 17:
			n = int(z.in.take(3)) + 3
		default:
			n = int(z.in.take(7)) + 11
		}
		if n > len(lengths)-i {
			return errCodes
		}
		for ; n > 0; n-- {
			lengths[i] = value
			i++
		}
	}
	return z.in.checkEnd()
}

// decode decodes the codes of the current block until it ends or the window is full. All that changes with
// every code is kept in local variables, which the compiler can hold in registers.
func (z *inflater) decode() error {
	in, out := z.in, z.out
	buf, acc, n, at := &in.buf, in.acc, in.n, in.pos
	lits, dists := &z.use.literals, &z.use.distances
	pos, limit := z.pos, len(out)-slack
	var err error
	for pos < limit {
		if at > in.limit {
			in.acc, in.n, in.pos = acc, n, at
			if err = in.more(); err != nil {
				break
			}
			at = in.pos
		}
		acc |= binary.LittleEndian.Uint64(buf[at:at+8:at+8]) << (n & 63)
		at += int((63 - n) >> 3)
		n |= 56

		e := lits[acc&(1<<literalBits-1)]
		if e >= oneLiteral {
			// Three indices fit in the bits that are there.
			binary.LittleEndian.PutUint32(out[pos:pos+4:pos+4], e)
			pos += int(e >> literalShift)
			acc >>= e >> dropShift & dropMask
			n -= dropped(e)
			e = lits[acc&(1<<literalBits-1)]
			if e >= oneLiteral {
				binary.LittleEndian.PutUint32(out[pos:pos+4:pos+4], e)
				pos += int(e >> literalShift)
				acc >>= e >> dropShift & dropMask
				n -= dropped(e)
				e = lits[acc&(1<<literalBits-1)]
				if e >= oneLiteral {
					binary.LittleEndian.PutUint32(out[pos:pos+4:pos+4], e)
					pos += int(e >> literalShift)
					acc >>= e >> dropShift & dropMask
					n -= dropped(e)
					continue
				}
			}
			acc |= binary.LittleEndian.Uint64(buf[at:at+8:at+8]) << (n & 63)
			at += int((63 - n) >> 3)
			n |= 56
		}
		if e&special != 0 {
			if e&longer != 0 {
				e = lits[int(e&baseMask)+int(acc>>literalBits&(1<<(e>>lengthShift&lengthMask)-1))]
			}
			if e >= oneLiteral {
				out[pos] = byte(e)
				pos++
				acc >>= e >> dropShift & dropMask
				n -= dropped(e)
				continue
			}
			if e&special != 0 {
				if e&endOfBlock == 0 {
					err = errCode
					break
				}
				acc >>= e >> dropShift & dropMask
				n -= dropped(e)
				z.endBlock()
				break
			}
		}
		length := int(e&baseMask) + extra(acc, e)
		acc >>= e >> dropShift & dropMask
		n -= dropped(e)

		e = dists[acc&(1<<distanceBits-1)]
		if e&special != 0 {
			if e&longer != 0 {
				e = dists[int(e&baseMask)+int(acc>>distanceBits&(1<<(e>>lengthShift&lengthMask)-1))]
			}
			if e&special != 0 {
				err = errCode
				break
			}
		}
		distance := int(e&baseMask) + extra(acc, e)
		acc >>= e >> dropShift & dropMask
		n -= dropped(e)
		if distance > pos {
			err = errDistance
			break
		}
		copyMatch(out, pos, distance, length)
		pos += length
	}
	in.acc, in.n, in.pos = acc, n, at
	z.pos = pos
	return err
}

// extra returns the extra value behind the code of a length or distance.
func extra(acc uint64, e entry) int {
	return int(acc & (1<<(e>>dropShift&dropMask) - 1) >> (e >> lengthShift & lengthMask))
}

// copyMatch appends length bytes from distance bytes back. It may write up to 15 bytes beyond them.
func copyMatch(out []byte, pos, distance, length int) {
	from := pos - distance
	if distance >= 8 && length <= 16 {
		binary.LittleEndian.PutUint64(out[pos:], binary.LittleEndian.Uint64(out[from:]))
		binary.LittleEndian.PutUint64(out[pos+8:], binary.LittleEndian.Uint64(out[from+8:]))
		return
	}
	// A match that overlaps itself repeats a pattern: each copy doubles it.
	for dst := out[pos : pos+length]; len(dst) > 0; {
		n := copy(dst, out[from:pos])
		dst = dst[n:]
		pos += n
	}
}
