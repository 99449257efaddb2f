package iptc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The data sets that several readers and writers use, by record and number.
const (
	EnvelopeRecord    = 1
	ApplicationRecord = 2

	CharacterSet = 90 // of the envelope record; the numbers below are of the application record
	Title        = 5
	Keywords     = 25
	DateCreated  = 55
	TimeCreated  = 60
	Creator      = 80
	Headline     = 105
	Copyright    = 116
	Description  = 120
	Writer       = 122 // of the description
)

// UTF8 is the value of CharacterSet for UTF-8.
const UTF8 = "\x1b%G"

const marker = 0x1c

// Block is a block of IPTC-IIM: data sets, and the bytes after them.
type Block struct {
	Sets []DataSet
	// Damage is the reason why the rest of the block cannot be read, or nil.
	Damage error

	tail []byte
	cut  bool // a data set extends beyond the end
}

// DataSet is one value of a block.
type DataSet struct {
	Record, Number byte
	Value          []byte

	whole []byte // with its header and the zeros before it
}

// parseBlock splits a block. Zeros may precede and follow a data set.
func parseBlock(block []byte) Block {
	var b Block
	for len(block) > 0 {
		head := len(block) - len(bytes.TrimLeft(block, "\x00"))
		if head == len(block) {
			break
		}
		if block[head] != marker || len(block) < head+5 {
			b.Damage, b.cut = errors.New("IPTC: a data set cannot be read"), block[head] == marker
			break
		}
		set := DataSet{Record: block[head+1], Number: block[head+2]}
		length := int(binary.BigEndian.Uint16(block[head+3:]))
		head += 5
		if length >= 0x8000 { // the number of length bytes
			digits := length - 0x8000
			length = -1
			if digits <= 4 && digits <= len(block)-head {
				length = 0
				for _, d := range block[head : head+digits] {
					length = length<<8 | int(d)
				}
				head += digits
			}
		}
		if length < 0 || length > len(block)-head {
			b.Damage, b.cut = fmt.Errorf("IPTC %d:%d: its value lies outside of the block", set.Record, set.Number), true
			break
		}
		set.whole, set.Value = block[:head+length], block[head:head+length]
		b.Sets = append(b.Sets, set)
		block = block[head+length:]
	}
	b.tail = block
	return b
}

// Values returns the values of a data set of the application record.
func (b Block) Values(number byte) []string {
	var values []string
	for _, s := range b.Sets {
		if s.Record == ApplicationRecord && s.Number == number {
			values = append(values, string(s.Value))
		}
	}
	return values
}

// Without returns the block without a data set of the application record.
func (b Block) Without(number byte) Block {
	b.Sets = slices.DeleteFunc(slices.Clone(b.Sets), func(s DataSet) bool {
		return s.Record == ApplicationRecord && s.Number == number
	})
	return b
}

// With returns the block with additional values of a data set of the application record. It is not ok if the
// block's character set cannot represent them.
func (b Block) With(number byte, values []string) (with Block, ok bool) {
	if slices.ContainsFunc(values, func(v string) bool { return notASCII([]byte(v)) }) {
		if b, ok = b.inUTF8(); !ok {
			return b, false
		}
	}
	return b.with(ApplicationRecord, number, values), true
}

func notASCII(text []byte) bool {
	return bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x80 })
}

// inUTF8 returns the block marked as UTF-8. It is not ok if the block has another character set, or unmarked
// text in an unknown one.
func (b Block) inUTF8() (Block, bool) {
	for _, s := range b.Sets {
		if s.Record == EnvelopeRecord && s.Number == CharacterSet {
			return b, string(s.Value) == UTF8
		}
	}
	if slices.ContainsFunc(b.Sets, func(s DataSet) bool { return s.Record == ApplicationRecord && notASCII(s.Value) }) {
		return b, false
	}
	return b.with(EnvelopeRecord, CharacterSet, []string{UTF8}), true
}

// with returns the block with additional data sets, in the order of records and numbers if the block is ordered.
func (b Block) with(record, number byte, values []string) Block {
	place := slices.IndexFunc(b.Sets, func(s DataSet) bool {
		return s.Record > record || s.Record == record && s.Number > number
	})
	if place < 0 {
		place = len(b.Sets)
	}
	more := make([]DataSet, len(values))
	for i, v := range values {
		whole := binary.BigEndian.AppendUint16([]byte{marker, record, number}, uint16(len(v)))
		more[i] = DataSet{record, number, []byte(v), append(whole, v...)}
	}
	b.Sets = slices.Insert(slices.Clone(b.Sets), place, more...)
	return b
}

func (b Block) bytes() []byte {
	var out []byte
	for _, s := range b.Sets {
		out = append(out, s.whole...)
	}
	return append(out, b.tail...)
}
