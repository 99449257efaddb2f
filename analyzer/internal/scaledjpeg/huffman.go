package scaledjpeg

import "image/jpeg"

// How many bits the two look-ups of a table take.
const (
	firstBits = 10
	skipBits  = 12
)

// table decodes one Huffman code (T.81, annex C and F.2.2.3).
type table struct {
	// first has the symbol above the length of the code that firstBits bits begin
	// with, 0 when the code is longer.
	first [1 << firstBits]uint16
	// skip tells of skipBits bits how many bits of AC codes with their values can be
	// stepped over at once, and how many coefficients these are; see skipEntry.
	// It is there when the table has been prepared for many blocks.
	skip *[1 << skipBits]uint16

	symbols [256]byte
	count   [17]int // codes of each length
	start   [17]int // the first code of each length
	index   [17]int // of its symbol
}

// read makes it the table that follows its class and number, and tells how many
// bytes that took.
func (t *table) read(segment []byte) (n int, err error) {
	*t = table{}
	total, code := 0, 0
	for length := 1; length <= 16; length++ {
		t.count[length] = int(segment[length-1])
		t.start[length], t.index[length] = code, total
		code += t.count[length]
		total += t.count[length]
		if total <= 256 && code > 1<<length {
			err = errTable
		}
		code <<= 1
	}
	switch {
	case total == 0:
		return 0, jpeg.FormatError("Huffman table has zero length")
	case total > 256:
		return 0, jpeg.FormatError("Huffman table has excessive length")
	case len(segment) < 16+total:
		return 0, errLength
	case err != nil:
		return 0, err
	}
	copy(t.symbols[:], segment[16:16+total])
	t.fillFirst(t.first[:], firstBits)
	return 16 + total, nil
}

// fillFirst sets for each value of so many bits the symbol and the length of the
// code that it begins with.
func (t *table) fillFirst(look []uint16, bits int) {
	at := 0
	for length := 1; length <= bits; length++ {
		for _, symbol := range t.symbols[t.index[length]:][:t.count[length]] {
			entries := look[at : at+1<<(bits-length)]
			for i := range entries {
				entries[i] = uint16(symbol)<<8 | uint16(length)
			}
			at += len(entries)
		}
	}
}

// long decodes the code at the top of acc whatever its length. The length is 0 if
// there is no such code.
func (t *table) long(acc uint64) (symbol byte, length uint) {
	for length := 1; length <= 16; length++ {
		code := int(acc>>(64-length)) - t.start[length]
		if code < t.count[length] {
			return t.symbols[t.index[length]+code], uint(length)
		}
	}
	return 0, 0
}

// A skip entry holds the bits to step over in its lowest skipLength bits: 27 at
// most, where the value of the last code lies behind the skipBits. So two of them
// fit between two fillings of the bits. Above them are the coefficients that they
// are; plus skipEnd if the block ends behind them, or skipNone alone if the first
// code is too long to be seen or not one.
const (
	skipLength = 5
	skipEnd    = 64
	skipNone   = 128
)

// prepareSkip makes the table of AC codes to step over.
func (t *table) prepareSkip() {
	if t.skip != nil {
		return
	}
	t.skip = new([1 << skipBits]uint16)
	codes := new([1 << skipBits]uint16)
	t.fillFirst(codes[:], skipBits)
	for i := range t.skip {
		t.skip[i] = skipEntry(codes, i)
	}
}

// skipEntry steps over the codes that the bits begin with.
func skipEntry(codes *[1 << skipBits]uint16, bits int) uint16 {
	length, coefficients := 0, 0
	for length < skipBits {
		code := codes[bits<<length&(1<<skipBits-1)]
		codeLength, run, size := int(code&255), int(code>>12), int(code>>8&15)
		n := codeLength + size
		// Bits that are not known stand as zeros: a code that takes any is none.
		if codeLength == 0 || length+codeLength > skipBits || size == 0 && run > 0 && run < 15 {
			break
		}
		if size == 0 && run == 0 {
			return uint16(length + n | (coefficients+skipEnd)<<skipLength)
		}
		if coefficients+run+1 > 63 {
			break
		}
		length, coefficients = length+n, coefficients+run+1
	}
	if length == 0 {
		return skipNone << skipLength
	}
	return uint16(length | coefficients<<skipLength)
}
