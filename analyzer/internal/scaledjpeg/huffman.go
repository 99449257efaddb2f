package scaledjpeg

// The number of bits that the two look-up tables use.
const (
	firstBits = 10
	skipBits  = 12
)

// table decodes one Huffman code (T.81, annex C and F.2.2.3).
type table struct {
	// first maps firstBits bits to the symbol, shifted above the length of the code at their start, or to 0 if
	// the code is longer.
	first [1 << firstBits]uint16
	// skip maps skipBits bits to the number of bits of whole AC codes with their values that can be skipped
	// together, and the number of their coefficients; see skipEntry. It is set when the table has been prepared
	// for many blocks.
	skip *[1 << skipBits]uint16

	fault error // why the table cannot be used

	symbols [256]byte
	count   [17]int // number of codes of each length
	start   [17]int // the first code of each length
	index   [17]int // index of the first code's symbol
}

// read decodes the table that follows its class and number in segment, and returns the number of bytes read. A
// table without codes or with too many is a fault only of an image that uses it, as in libjpeg.
func (t *table) read(segment []byte) (n int, err error) {
	*t = table{}
	total, code := 0, 0
	for length := 1; length <= 16; length++ {
		t.count[length] = int(segment[length-1])
		t.start[length], t.index[length] = code, total
		code += t.count[length]
		total += t.count[length]
		if total <= 256 && code > 1<<length {
			t.fault = errTable
		}
		code <<= 1
	}
	switch {
	case total > 256:
		return 0, errTable
	case len(segment) < 16+total:
		return 0, errLength
	case total == 0:
		t.fault = errEmptyTable
	}
	copy(t.symbols[:], segment[16:16+total])
	if t.fault == nil {
		t.fillFirst(t.first[:], firstBits)
	}
	return 16 + total, nil
}

// check returns the reason why the table, which may be nil, cannot be used.
func (t *table) check() error {
	if t == nil {
		return errNoTable
	}
	return t.fault
}

// fillFirst sets, for each value of the given number of bits, the symbol and the length of the code at its
// start.
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

// long returns the entry that first has, or would have if it used more bits, for the code at the top of acc. It returns
// 0 if there is no such code.
func (t *table) long(acc uint64) uint16 {
	for length := 1; length <= 16; length++ {
		code := int(acc>>(64-length)) - t.start[length]
		if code < t.count[length] {
			return uint16(t.symbols[t.index[length]+code])<<8 | uint16(length)
		}
	}
	return 0
}

// A skip entry contains the number of bits to skip in its lowest skipLength bits: at most 27, because the value
// of the last code may extend beyond the skipBits. So two of them fit between two calls of fill. Above them is
// the number of coefficients; plus skipEnd if the block ends after them, or skipNone alone if the first code is
// too long or invalid.
const (
	skipLength = 5
	skipEnd    = 64
	skipNone   = 128
)

// prepareSkip builds the skip table of AC codes.
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

// skipEntry returns the entry for the whole codes at the start of the bits.
func skipEntry(codes *[1 << skipBits]uint16, bits int) uint16 {
	length, coefficients := 0, 0
	for length < skipBits {
		code := codes[bits<<length&(1<<skipBits-1)]
		codeLength, run, size := int(code&255), int(code>>12), int(code>>8&15)
		n := codeLength + size
		// Unknown bits are zeros here, so a code that uses any of them does not count.
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
