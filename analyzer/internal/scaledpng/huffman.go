package scaledpng

import (
	"math/bits"
	"sync"
)

// An entry of a table says what the next bits mean:
//
//	bits 0–15  the base of a length or distance; the offset of the table of longer codes
//	bits 16–19 the length of its code; the width of the index into the table of longer codes
//	bit 21     longer codes
//	bit 22     the end of the block
//	bit 23     neither a literal nor a value: bit 21, bit 22, or no code at all
//	bits 24–29 the number of bits to drop: those of the code and of the extra value that follows it
//	bits 30–31 the number of literals, which are in bits 0–23 instead of the above, or 0
type entry = uint32

const (
	baseMask     = 0xffff
	lengthShift  = 16
	lengthMask   = 15
	longer       = 1 << 21
	endOfBlock   = 1 << 22
	special      = 1 << 23
	payloadMask  = 1<<24 - 1
	dropShift    = 24
	dropMask     = 63
	literalShift = 30
	oneLiteral   = 1 << literalShift // the least entry with a literal
)

// dropped returns the number of bits to drop.
func dropped(e entry) uint { return uint(e >> dropShift & dropMask) }

// The limits of deflate (RFC 1951, 3.2.5 to 3.2.7).
const (
	longestCode = 15
	numLiterals = 286 // literals, the end of the block and lengths
	numDistance = 30
	numLengths  = 19 // lengths of codes
)

// The widths of the indices into the first level of the tables, and room for the second level: it has at most
// one table for two codes, and each of them has 1<<(longestCode-width) entries.
const (
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7

	literalSize  = 1<<literalBits + (numLiterals+2)/2<<(longestCode-literalBits)
	distanceSize = 1<<distanceBits + (numDistance+2)/2<<(longestCode-distanceBits)
)

// codes are the tables of one block.
type codes struct {
	literals  [literalSize]entry
	distances [distanceSize]entry
}

// The meanings of the symbols, to which build adds the lengths of their codes.
var (
	literalMeanings  = newLiteralMeanings()
	distanceMeanings = newDistanceMeanings()
	lengthMeanings   = newLengthMeanings()
)

func newLiteralMeanings() (m [numLiterals + 2]entry) {
	for i := range 256 {
		m[i] = oneLiteral | entry(i)
	}
	m[256] = special | endOfBlock
	base := entry(3)
	for i := range 28 {
		extra := entry(max(0, i/4-1))
		m[257+i] = base | extra<<dropShift
		base += 1 << extra
	}
	m[285] = 258
	m[286], m[287] = special, special
	return m
}

func newDistanceMeanings() (m [numDistance + 2]entry) {
	base := entry(1)
	for i := range numDistance {
		extra := entry(max(0, i/2-1))
		m[i] = base | extra<<dropShift
		base += 1 << extra
	}
	m[30], m[31] = special, special
	return m
}

func newLengthMeanings() (m [numLengths]entry) {
	for i := range m {
		m[i] = entry(i)
	}
	return m
}

// build fills a table whose first level has an index of width bits, for symbols whose codes have the lengths.
// The codes must use up all bit patterns. As in zlib, there may be no code at all, or, unless full is set, only
// one of one bit.
func build(table []entry, width uint, lengths []uint8, meanings []entry, full bool) error {
	var count [longestCode + 1]int
	for _, l := range lengths {
		count[l]++
	}
	used, longest, next := 0, uint(0), [longestCode + 2]int{}
	for l := uint(1); l <= longestCode; l++ {
		used += count[l] << (longestCode - l)
		next[l+1] = next[l] + count[l]
		if count[l] > 0 {
			longest = l
		}
	}
	if used > 1<<longestCode || used < 1<<longestCode && (full || longest > 1) {
		return errCodes
	}
	var sorted [numLiterals + 2]uint16 // the symbols by the length of their codes
	for s, l := range lengths {
		if l > 0 {
			sorted[next[l]] = uint16(s)
			next[l]++
		}
	}

	// The first level doubles with each bit, so that a code fills all entries that start with it.
	table[0] = special
	code, symbols := 0, sorted[:]
	for l := uint(1); l <= width; l++ {
		copy(table[1<<(l-1):1<<l], table)
		code <<= 1
		for range count[l] {
			table[reversed(code, l)] = meaning(meanings[symbols[0]], l)
			symbols = symbols[1:]
			code++
		}
	}
	if longest > width {
		buildLonger(table, width, longest, code, symbols, count[:], meanings)
	}
	return nil
}

// buildLonger adds the codes of more than width bits, which start with the given one.
func buildLonger(table []entry, width, longest uint, code int, symbols []uint16, count []int, meanings []entry) {
	size := 1 << (longest - width)
	end, first := 1<<width, -1
	for l := width + 1; l <= longest; l++ {
		code <<= 1
		for range count[l] {
			r := reversed(code, l)
			if r&(1<<width-1) != first {
				first = r & (1<<width - 1)
				table[first] = special | longer | entry(longest-width)<<lengthShift | entry(end)
				end += size
			}
			own := table[end-size : end]
			for i := r >> width; i < size; i += 1 << (l - width) {
				own[i] = meaning(meanings[symbols[0]], l)
			}
			symbols = symbols[1:]
			code++
		}
	}
}

// meaning returns the entry of a symbol whose code has a length.
func meaning(m entry, length uint) entry {
	m += entry(length) << dropShift
	if m < oneLiteral {
		m |= entry(length) << lengthShift
	}
	return m
}

// reversed returns a code as it is stored: with its first bit least significant.
func reversed(code int, length uint) int {
	return int(bits.Reverse16(uint16(code)) >> (16 - length))
}

// joinLiterals lets each entry of a first level that is a literal stand for up to three of them, where all of
// their codes fit in its index.
func joinLiterals(table []entry, width uint) {
	table = table[:1<<width]
	for i := len(table) - 1; i > 0; i-- {
		e := table[i]
		for count := e >> literalShift; count == 1 || count == 2; count++ {
			// The entries before this one have one literal.
			n := dropped(e)
			next := table[i>>n&(len(table)-1)]
			if next>>literalShift != 1 || n+dropped(next) > width {
				break
			}
			e += next&^payloadMask + next&payloadMask<<(8*count)
		}
		table[i] = e
	}
}

// fixedCodes returns the tables of the codes that deflate fixes.
var fixedCodes = sync.OnceValue(func() *codes {
	var lengths [numLiterals + 2]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var ofDistances [numDistance + 2]uint8
	for i := range ofDistances {
		ofDistances[i] = 5
	}
	var c codes
	// Both codes use up all bit patterns, so that build cannot fail.
	_ = build(c.literals[:], literalBits, lengths[:], literalMeanings[:], true)
	_ = build(c.distances[:], distanceBits, ofDistances[:], distanceMeanings[:], true)
	return &c
})
