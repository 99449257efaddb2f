// Package tiff reads and edits the TIFF structures of image files: EXIF blocks (TIFF 6.0; CIPA DC-008), and the
// index of Multi-Picture files.
//
// No offset or count in a block is trusted, and reading allocates nothing. Every offset of a block is relative
// to its start, and the offsets in maker notes are undocumented. An edit therefore moves no data of a block.
package tiff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// The types of values.
const (
	Byte      = 1
	ASCII     = 2
	Short     = 3
	Long      = 4
	Rational  = 5
	SByte     = 6
	Undefined = 7
	SShort    = 8
	SLong     = 9
	SRational = 10
	Float     = 11
	Double    = 12
	IFD       = 13
	UTF8      = 129 // from EXIF 3.0
)

// sizes contains the bytes of a value of each type up to IFD.
var sizes = [...]int{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// The tags of the first directory that several readers and writers use.
const (
	TagImageDescription = 0x010e
	TagOrientation      = 0x0112
	TagXMP              = 0x02bc
	TagIPTC             = 0x83bb
	TagExif             = 0x8769 // position of the EXIF directory
	TagGPS              = 0x8825 // position of the GPS directory
	TagXPTitle          = 0x9c9b // the tags of Windows, in UTF-16
	TagXPComment        = 0x9c9c
	TagXPAuthor         = 0x9c9d
	TagXPKeywords       = 0x9c9e
	TagXPSubject        = 0x9c9f
)

const (
	headerSize = 8
	entrySize  = 12
)

// The errors of Parse.
var (
	ErrHeader    = errors.New("it has no TIFF header")
	ErrDirectory = errors.New("its first directory is missing")
)

// ByteOrder is one of the two orders of a block.
type ByteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// Block is a TIFF structure.
type Block struct {
	Data  []byte
	Order ByteOrder
	First Directory
}

// Directory is a list of entries in a block.
type Directory struct {
	Start  int
	Count  int // number of entries that lie in the block
	Stated int // number of entries that the directory states
}

// Span returns the range of the directory with the offset of the next one.
func (d Directory) Span() edit.Span { return edit.Span{Start: d.Start, End: d.next() + 4} }

func (d Directory) entry(i int) int { return d.Start + 2 + entrySize*i }
func (d Directory) next() int       { return d.entry(d.Count) } // position of the offset of the next directory

// Entry is an entry of a directory.
type Entry struct {
	Tag, Type uint16
	Count     uint32 // number of values
	At        int    // position of the entry
}

// Parse reads the header and the extent of the first directory.
func Parse(data []byte) (Block, error) {
	b := Block{Data: data}
	switch {
	case bytes.HasPrefix(data, []byte("II*\x00")):
		b.Order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("MM\x00*")):
		b.Order = binary.BigEndian
	default:
		return b, ErrHeader
	}
	if len(data) < headerSize {
		return b, ErrDirectory
	}
	var ok bool
	if b.First, ok = b.Directory(b.Order.Uint32(data[4:])); !ok {
		return b, ErrDirectory
	}
	return b, nil
}

// Directory returns the directory at an offset. Only the entries that lie in the block count.
func (b Block) Directory(offset uint32) (Directory, bool) {
	at := int(offset)
	if at < headerSize || at > len(b.Data)-2 {
		return Directory{}, false
	}
	d := Directory{Start: at, Stated: int(b.Order.Uint16(b.Data[at:]))}
	d.Count = min(d.Stated, (len(b.Data)-at-2)/entrySize)
	return d, true
}

// Whole reports whether the directory and the offset after it lie in the block.
func (b Block) Whole(d Directory) bool {
	return d.Count == d.Stated && d.Span().End <= len(b.Data)
}

// Entries yields the entries of a directory.
func (b Block) Entries(d Directory) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range d.Count {
			if !yield(b.entry(d.entry(i))) {
				return
			}
		}
	}
}

func (b Block) entry(at int) Entry {
	e := b.Data[at : at+entrySize]
	return Entry{Tag: b.Order.Uint16(e), Type: b.Order.Uint16(e[2:]), Count: b.Order.Uint32(e[4:]), At: at}
}

// Find returns the first entry of a tag.
func (b Block) Find(d Directory, tag uint16) (Entry, bool) {
	for e := range b.Entries(d) {
		if e.Tag == tag {
			return e, true
		}
	}
	return Entry{}, false
}

// Pointer returns the offset in an entry that refers to a directory.
func (b Block) Pointer(e Entry) uint32 { return b.Order.Uint32(b.Data[e.At+8:]) }

// Value returns the range of an entry's values. Short values are in the entry itself. An unknown type counts as
// bytes.
func (b Block) Value(e Entry) (edit.Span, bool) {
	size := 1
	if int(e.Type) < len(sizes) {
		size = sizes[e.Type]
	}
	size *= int(e.Count)
	at := e.At + 8
	if size > 4 {
		at = int(b.Pointer(e))
	}
	if at > len(b.Data) || size > len(b.Data)-at {
		return edit.Span{}, false
	}
	return edit.Span{Start: at, End: at + size}, true
}

// Text returns a text up to its first zero.
func (b Block) Text(e Entry) ([]byte, bool) {
	at, ok := b.Value(e)
	if !ok {
		return nil, false
	}
	text, _, _ := bytes.Cut(at.Of(b.Data), []byte{0})
	return text, true
}

// Integer returns value i of an entry of any integer type.
func (b Block) Integer(e Entry, i int) (int64, bool) {
	at, ok := b.Value(e)
	if !ok || i >= int(e.Count) {
		return 0, false
	}
	v := at.Of(b.Data)[i*sizes[min(int(e.Type), IFD)]:]
	switch e.Type {
	case Byte, Undefined:
		return int64(v[0]), true
	case SByte:
		return int64(int8(v[0])), true //nolint:gosec // reinterprets the bits
	case Short:
		return int64(b.Order.Uint16(v)), true
	case SShort:
		return int64(int16(b.Order.Uint16(v))), true //nolint:gosec // reinterprets the bits
	case Long, IFD:
		return int64(b.Order.Uint32(v)), true
	case SLong:
		return int64(int32(b.Order.Uint32(v))), true //nolint:gosec // reinterprets the bits
	}
	return 0, false
}

// Fraction is a rational number. Cameras write a denominator of 0 for an unknown value.
type Fraction struct{ Num, Den int64 }

// Float returns the value of the fraction.
func (f Fraction) Float() float64 { return float64(f.Num) / float64(f.Den) }

// Reduced returns the fraction in lowest terms.
func (f Fraction) Reduced() Fraction {
	a, b := f.Num, f.Den
	for b != 0 {
		a, b = b, a%b
	}
	if a == 0 {
		return f
	}
	return Fraction{f.Num / a, f.Den / a}
}

// Fraction returns value i of an entry of the type Rational or SRational, or of any integer type.
func (b Block) Fraction(e Entry, i int) (Fraction, bool) {
	if e.Type != Rational && e.Type != SRational {
		n, ok := b.Integer(e, i)
		return Fraction{n, 1}, ok
	}
	at, ok := b.Value(e)
	if !ok || i >= int(e.Count) {
		return Fraction{}, false
	}
	v := at.Of(b.Data)[8*i:]
	num, den := b.Order.Uint32(v), b.Order.Uint32(v[4:])
	if e.Type == SRational {
		return Fraction{int64(int32(num)), int64(int32(den))}, true //nolint:gosec // reinterprets the bits
	}
	return Fraction{int64(num), int64(den)}, true
}

// Orientation returns the orientation of the first directory, or 1, upright, if it contains no value between 1
// and 8. The thumbnail's own orientation, in the second directory, does not count.
func (b Block) Orientation() int {
	for e := range b.Entries(b.First) {
		if e.Tag != TagOrientation || e.Count != 1 {
			continue
		}
		if e.Type == Byte || e.Type == Short || e.Type == Long {
			if v, ok := b.Integer(e, 0); ok && v >= 1 && v <= 8 {
				return int(v)
			}
		}
		return 1
	}
	return 1
}
