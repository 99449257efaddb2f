package embed

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
)

// The datasets of IPTC-IIM 4.2 that matter here: the captions are in the second record.
const (
	iimMarker = 0x1c

	envelopeRecord    = 1
	applicationRecord = 2
	charsetNumber     = 90
	utf8Charset       = "\x1b%G"
)

// iimOf contains the number and the maximum bytes of the dataset of each field.
var iimOf = [...]struct {
	number byte
	most   int
}{caption.Title: {5, 64}, caption.Description: {120, 2000}, caption.Keywords: {25, 64}}

// iim is a block of IPTC-IIM: datasets, and the bytes after them.
type iim struct {
	sets []dataset
	tail []byte
}

type dataset struct {
	whole          []byte
	record, number byte
	value          string
}

// readIIM reads a block. It is not ok if a dataset extends beyond the end.
func readIIM(block []byte) (iim, bool) {
	var b iim
	for len(block) > 0 && block[0] == iimMarker {
		if len(block) < 5 {
			return b, false
		}
		head, length := 5, int(binary.BigEndian.Uint16(block[3:]))
		if length >= 0x8000 { // the number of length bytes
			digits := length - 0x8000
			if digits > 4 || len(block) < head+digits {
				return b, false
			}
			length = 0
			for _, d := range block[head : head+digits] {
				length = length<<8 | int(d)
			}
			head += digits
		}
		if length > len(block)-head {
			return b, false
		}
		b.sets = append(b.sets, dataset{block[:head+length], block[1], block[2], string(block[head : head+length])})
		block = block[head+length:]
	}
	b.tail = block
	return b, true
}

func (b iim) values(f caption.Field) []string {
	var values []string
	for _, s := range b.sets {
		if s.record == applicationRecord && s.number == iimOf[f].number {
			values = append(values, s.value)
		}
	}
	return values
}

func (b iim) states(f caption.Field, m caption.Marks) bool {
	values := b.values(f)
	return !caption.Blank(values) && !m.Ours(f, values)
}

// describe returns the block with our captions replaced. It fills in no field that the block states, and none
// that does not fit or cannot be represented in the block's character set.
func (b iim) describe(c caption.Caption, m caption.Marks) (described iim, filled bool) {
	for _, f := range caption.Fields {
		if m.Ours(f, b.values(f)) {
			b.sets = slices.DeleteFunc(slices.Clone(b.sets), func(s dataset) bool {
				return s.record == applicationRecord && s.number == iimOf[f].number
			})
		}
	}
	for _, f := range caption.Fields {
		if len(c[f]) == 0 || len(b.values(f)) > 0 || !fits(c[f], iimOf[f].most) {
			continue
		}
		if !slices.ContainsFunc(c[f], notASCII) {
			b = b.with(applicationRecord, iimOf[f].number, c[f])
			filled = true
		} else if marked, ok := b.inUTF8(); ok {
			b = marked.with(applicationRecord, iimOf[f].number, c[f])
			filled = true
		}
	}
	return b, filled
}

func fits(values []string, most int) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return len(v) > most })
}

func notASCII(text string) bool {
	return bytes.ContainsFunc([]byte(text), func(r rune) bool { return r >= 0x80 })
}

// inUTF8 returns the block marked as UTF-8. It is not ok if the block has another character set, or unmarked
// text in an unknown one.
func (b iim) inUTF8() (iim, bool) {
	for _, s := range b.sets {
		if s.record == envelopeRecord && s.number == charsetNumber {
			return b, s.value == utf8Charset
		}
	}
	if slices.ContainsFunc(b.sets, func(s dataset) bool { return s.record == applicationRecord && notASCII(s.value) }) {
		return b, false
	}
	return b.with(envelopeRecord, charsetNumber, []string{utf8Charset}), true
}

// with returns the block with additional datasets, in the order of records and numbers if the block is ordered.
func (b iim) with(record, number byte, values []string) iim {
	place := slices.IndexFunc(b.sets, func(s dataset) bool {
		return s.record > record || s.record == record && s.number > number
	})
	if place < 0 {
		place = len(b.sets)
	}
	more := make([]dataset, len(values))
	for i, v := range values {
		whole := binary.BigEndian.AppendUint16([]byte{iimMarker, record, number}, uint16(len(v)))
		more[i] = dataset{append(whole, v...), record, number, v}
	}
	b.sets = slices.Insert(slices.Clone(b.sets), place, more...)
	return b
}

func (b iim) bytes() []byte {
	var out []byte
	for _, s := range b.sets {
		out = append(out, s.whole...)
	}
	return append(out, b.tail...)
}
