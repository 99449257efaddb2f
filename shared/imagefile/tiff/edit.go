package tiff

import (
	"bytes"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// Sound reports whether the first directory is complete and the values of all of its entries are within the
// block. A broken directory is not copied. Nothing else that the block refers to may extend beyond its end either:
// readers would find the data that is appended there.
func (b Block) Sound() bool {
	if !b.Whole(b.First) {
		return false
	}
	for e := range b.Entries(b.First) {
		at, ok := b.Value(e)
		inside := at.Start > e.At && at.End <= e.At+entrySize
		apart := at.End <= b.First.Start || at.Start >= b.First.Span().End
		if !ok || e.Type == 0 || int(e.Type) >= len(sizes) && e.Type != UTF8 || !inside && !apart {
			return false
		}
	}
	return b.contained()
}

// WithText returns the sound block with a text in its first directory, or without the tag if the text is empty.
// No data of the block moves: a new entry requires a new first directory, which is a copy of the old one at the
// end of the block. The bytes of the old one stay, but nothing refers to them.
func (b Block) WithText(tag uint16, text string) Block {
	e, has := b.Find(b.First, tag)
	if has {
		if old, ok := b.Text(e); ok && string(old) == text {
			return b
		}
	}
	switch {
	case !has && text == "":
		return b
	case !has:
		b, e.At = b.withEntry(tag)
	default:
		// Our previous directory ends the block, unless another program has written since.
		b.Data = slices.Clone(b.Data)
		end := b.First.Span().End
		if at, ok := b.Value(e); ok && at.End == len(b.Data) && at.Start >= end && isZero(b.Data[end:at.Start]) {
			b.Data = b.Data[:at.Start]
		}
	}
	if text == "" {
		b.First = b.withoutEntry(b.First, e.At)
		return b
	}
	value := append([]byte(text), 0)
	b.Order.PutUint16(b.Data[e.At+2:], ASCII)
	b.Order.PutUint32(b.Data[e.At+4:], uint32(len(value)))
	if len(value) <= 4 {
		clear(b.Data[e.At+8 : e.At+entrySize])
		copy(b.Data[e.At+8:], value)
		return b
	}
	if len(b.Data)%2 == 1 {
		b.Data = append(b.Data, 0)
	}
	b.Order.PutUint32(b.Data[e.At+8:], uint32(len(b.Data)))
	b.Data = append(b.Data, value...)
	return b
}

// withEntry returns the block with an additional, empty entry in its first directory, in the order of tags, and
// the position of the entry.
func (b Block) withEntry(tag uint16) (Block, int) {
	old, place := b.First, 0
	for place < old.Count && b.entry(old.entry(place)).Tag < tag {
		place++
	}
	data := slices.Grow(slices.Clone(b.Data), 1+old.Span().End-old.Start+entrySize)
	if len(data)%2 == 1 {
		data = append(data, 0) // directories start on an even offset
	}
	b.First = Directory{Start: len(data), Count: old.Count + 1, Stated: old.Count + 1}
	data = b.Order.AppendUint16(data, uint16(b.First.Count))
	data = append(data, data[old.entry(0):old.entry(place)]...)
	at := len(data)
	data = b.Order.AppendUint16(data, tag)
	data = append(data, make([]byte, entrySize-2)...)
	data = append(data, data[old.entry(place):old.Span().End]...)
	b.Order.PutUint32(data[4:], uint32(b.First.Start))
	b.Data = data
	return b, at
}

// withoutEntry removes an entry from a directory in place, changing the block's data.
func (b Block) withoutEntry(d Directory, at int) Directory {
	end := d.Span().End
	copy(b.Data[at:], b.Data[at+entrySize:end])
	clear(b.Data[end-entrySize : end])
	d.Count--
	d.Stated--
	b.Order.PutUint16(b.Data[d.Start:], uint16(d.Count))
	return d
}

// maxDirectories bounds the number of directories that are searched for GPS positions.
const maxDirectories = 8

// directories returns the first directory, its successors (the thumbnail's) and the EXIF directory. Readers
// look for GPS data in all of them. They do not overlap.
func (b Block) directories() []Directory {
	all := []Directory{b.First}
	add := func(offset uint32) bool {
		d, ok := b.Directory(offset)
		if !ok || !b.Whole(d) || slices.ContainsFunc(all, func(o Directory) bool { return d.Span().Overlaps(o.Span()) }) {
			return false
		}
		all = append(all, d)
		return true
	}
	for following := true; following && len(all) < maxDirectories; {
		following = add(b.Order.Uint32(b.Data[all[len(all)-1].next():]))
	}
	if e, ok := b.Find(b.First, TagExif); ok {
		add(b.Pointer(e))
	}
	return all
}

// WithoutGPS returns the block without its GPS directories: it removes the pointers to them, and overwrites
// their entries and values with zeros. The first directory must be whole. WithoutGPS reports whether there was
// a GPS directory.
func (b Block) WithoutGPS() (Block, bool) {
	data := b.Data
	b.Data = slices.Clone(data)
	removed := false
	all := b.directories()
	for i, d := range all {
		for e, ok := b.Find(d, TagGPS); ok; e, ok = b.Find(d, TagGPS) {
			b.blankGPS(b.Pointer(e), all)
			d = b.withoutEntry(d, e.At)
			removed = true
		}
		all[i] = d
	}
	b.First = all[0]
	if !removed {
		b.Data = data
	}
	return b, removed
}

// lastGPSTag is the largest tag of a GPS directory.
const lastGPSTag = 0x1f

// blankGPS overwrites the existing entries of a GPS directory and their values with zeros. Some writers end the
// block with the last entry. The bytes of the directories to keep stay.
func (b Block) blankGPS(offset uint32, keep []Directory) {
	d, ok := b.Directory(offset)
	if !ok {
		return
	}
	blank := func(s edit.Span) {
		if s.Start >= headerSize && !slices.ContainsFunc(keep, func(o Directory) bool { return s.Overlaps(o.Span()) }) {
			clear(s.Of(b.Data))
		}
	}
	for e := range b.Entries(d) {
		if e.Tag > lastGPSTag {
			continue // a broken pointer to other data, or another program's padding
		}
		if value, ok := b.Value(e); ok {
			blank(value)
		}
		blank(edit.Span{Start: e.At, End: e.At + entrySize})
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
