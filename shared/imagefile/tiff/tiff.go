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
	"math"

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

// The tags that state the color space of DCF 2.0.
const (
	tagInteroperability      = 0xa005 // position of the interoperability directory
	tagInteroperabilityIndex = 0x0001
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

// Pointer returns the offset of the directory that an entry refers to. Its type must be Long, but some programs write
// other integers.
func (b Block) Pointer(e Entry) uint32 {
	if n, ok := b.Integer(e, 0); ok && e.Type != Undefined && n >= 0 && n <= math.MaxUint32 {
		return uint32(n)
	}
	return b.offset(e)
}

// offset returns the last four bytes of an entry, where long values have their position.
func (b Block) offset(e Entry) uint32 { return b.Order.Uint32(b.Data[e.At+8:]) }

// Value returns the range of an entry's values. Short values are in the entry itself. An unknown type counts as
// bytes.
func (b Block) Value(e Entry) (edit.Span, bool) {
	at := b.stated(e)
	return at, at.End <= len(b.Data)
}

// stated returns the range of an entry's values, which may extend beyond the end of the block.
func (b Block) stated(e Entry) edit.Span {
	size := 1
	if int(e.Type) < len(sizes) {
		size = sizes[e.Type]
	}
	size *= int(e.Count)
	at := e.At + 8
	if size > 4 {
		at = int(b.offset(e))
	}
	return edit.Span{Start: at, End: at + size}
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

// Available returns the range of the part of an entry's values that lies in the block. It is not ok if the values start
// outside of the block.
func (b Block) Available(e Entry) (edit.Span, bool) {
	at := b.stated(e)
	at.End = min(at.End, len(b.Data))
	return at, at.Start <= at.End
}

// Integer returns value i of an entry of any integer type.
func (b Block) Integer(e Entry, i int) (int64, bool) {
	at, ok := b.Value(e)
	if !ok || i >= int(e.Count) || int(e.Type) >= len(sizes) {
		return 0, false
	}
	v := at.Of(b.Data)[i*sizes[e.Type]:]
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

// Number returns value i of an entry of any numeric type. It is not ok for a fraction over zero, which is the usual
// form of an unknown value.
func (b Block) Number(e Entry, i int) (float64, bool) {
	if f, ok := b.float(e, i); ok {
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	f, ok := b.Fraction(e, i)
	return f.Float(), ok && f.Den != 0
}

// float returns value i of an entry of the type Float or Double.
func (b Block) float(e Entry, i int) (float64, bool) {
	at, ok := b.Value(e)
	if !ok || i >= int(e.Count) {
		return 0, false
	}
	switch e.Type {
	case Float:
		return float64(math.Float32frombits(b.Order.Uint32(at.Of(b.Data)[4*i:]))), true
	case Double:
		return math.Float64frombits(b.Order.Uint64(at.Of(b.Data)[8*i:])), true
	}
	return 0, false
}

// Fraction is a rational number. Cameras write a denominator of 0 for an unknown value.
type Fraction struct{ Num, Den int64 }

// Float returns the value of the fraction.
func (f Fraction) Float() float64 { return float64(f.Num) / float64(f.Den) }

// Reduced returns the fraction in lowest terms, with a positive denominator.
func (f Fraction) Reduced() Fraction {
	a, b := f.Num, f.Den
	for b != 0 {
		a, b = b, a%b
	}
	if a == 0 {
		return f
	}
	f = Fraction{f.Num / a, f.Den / a}
	if f.Den < 0 {
		f = Fraction{-f.Num, -f.Den}
	}
	return f
}

// fractionOf returns the simplest fraction that differs from v by less than one millionth of it, or is close to 0. It
// expands a continued fraction.
func fractionOf(v float64) (Fraction, bool) {
	const most = 1 << 40 // of a numerator or denominator
	if !(math.Abs(v) < most) {
		return Fraction{}, false
	}
	before, f := Fraction{0, 1}, Fraction{1, 0}
	for rest := v; math.Abs(rest) < most; {
		whole := int64(math.Floor(rest))
		next := Fraction{whole*f.Num + before.Num, whole*f.Den + before.Den}
		if next.Num > most || next.Num < -most || next.Den > most {
			break
		}
		before, f = f, next
		if math.Abs(f.Float()-v) <= 1e-6*math.Abs(v) {
			break
		}
		rest = 1 / (rest - float64(whole))
	}
	return f, f.Den != 0
}

// Fraction returns value i of an entry of any numeric type. That of a floating-point number is close to it.
func (b Block) Fraction(e Entry, i int) (Fraction, bool) {
	if f, ok := b.float(e, i); ok {
		return fractionOf(f)
	}
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
		if e.Tag != TagOrientation {
			continue
		}
		if v, ok := b.Number(e, 0); ok && v >= 1 && v <= 8 && v == math.Trunc(v) {
			return int(v)
		}
	}
	return 1
}

// AdobeRGB reports whether the InteroperabilityIndex is R03, which DCF 2.0 defines as Adobe RGB (CIPA DC-008,
// 4.6.3). It is in a directory that the EXIF directory refers to.
func (b Block) AdobeRGB() bool {
	d := b.First
	for _, tag := range [...]uint16{TagExif, tagInteroperability} {
		e, ok := b.Find(d, tag)
		if !ok {
			return false
		}
		if d, ok = b.Directory(b.Pointer(e)); !ok {
			return false
		}
	}
	e, ok := b.Find(d, tagInteroperabilityIndex)
	return ok && string(b.Data[e.At+8:][:4]) == "R03\x00"
}
