package embed

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// The tags of TIFF 6.0, EXIF 2.32 and Windows that matter here, usually all in the first directory.
const (
	tagImageDescription = 0x010e
	tagXMP              = 0x02bc
	tagIPTC             = 0x83bb
	tagExif             = 0x8769 // position of the EXIF directory
	tagGPS              = 0x8825 // position of the GPS directory
	tagXPTitle          = 0x9c9b
	tagXPKeywords       = 0x9c9e
)

const (
	lastGPSTag = 0x1f
	typeASCII  = 2
	typeUTF8   = 129 // from EXIF 3.0
	tiffHeader = 8
	entrySize  = 12
)

// byteOrder is one of the two orders of a TIFF block.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// tiffBlock is the TIFF block of EXIF data. Its offsets are relative to its start, so its data must not move:
// the offsets in maker notes are undocumented.
type tiffBlock struct {
	data  []byte
	order byteOrder
	first directory
}

// directory is a list of entries in a TIFF block.
type directory struct{ start, count int }

func (d directory) entry(i int) int { return d.start + 2 + entrySize*i }
func (d directory) next() int       { return d.entry(d.count) } // position of the offset of the next directory
func (d directory) span() span      { return span{d.start, d.next() + 4} }

func readTIFF(data []byte) (tiffBlock, bool) {
	t := tiffBlock{data: data}
	if len(data) < tiffHeader {
		return t, false
	}
	switch string(data[:4]) {
	case "II*\x00":
		t.order = binary.LittleEndian
	case "MM\x00*":
		t.order = binary.BigEndian
	default:
		return t, false
	}
	var ok bool
	t.first, ok = t.directory(int(t.order.Uint32(data[4:])))
	return t, ok
}

// directory reads the extent of a directory. The GPS directory also has a next offset, which is always 0.
func (t tiffBlock) directory(at int) (directory, bool) {
	if at < tiffHeader || at > len(t.data)-2 {
		return directory{}, false
	}
	d := directory{at, int(t.order.Uint16(t.data[at:]))}
	return d, d.span().end <= len(t.data)
}

// find finds the entry of a tag.
func (t tiffBlock) find(d directory, tag uint16) (at int, ok bool) {
	for i := range d.count {
		if at := d.entry(i); t.order.Uint16(t.data[at:]) == tag {
			return at, true
		}
	}
	return 0, false
}

// typeSizes contains the bytes of a value of each type of TIFF and EXIF 3.0.
var typeSizes = [...]int{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// value returns the range of an entry's value. A short value is in the entry itself.
func (t tiffBlock) value(entry int) (span, bool) {
	size := 1 // for UTF-8
	if kind := int(t.order.Uint16(t.data[entry+2:])); kind < len(typeSizes) {
		size = typeSizes[kind]
	}
	size *= int(t.order.Uint32(t.data[entry+4:]))
	at := entry + 8
	if size > 4 {
		at = int(t.order.Uint32(t.data[at:]))
	}
	if at > len(t.data) || size > len(t.data)-at {
		return span{}, false
	}
	return span{at, at + size}, true
}

// description returns the ImageDescription up to its zero.
func (t tiffBlock) description() (text string, ok bool) {
	entry, ok := t.find(t.first, tagImageDescription)
	if !ok {
		return "", false
	}
	at, readable := t.value(entry)
	if !readable {
		return "", true
	}
	value, _, _ := bytes.Cut(at.of(t.data), []byte{0})
	return string(value), true
}

// sound reports whether the value of every entry of the first directory is within the block. A broken directory
// is not copied.
func (t tiffBlock) sound() bool {
	for i := range t.first.count {
		entry := t.first.entry(i)
		kind := int(t.order.Uint16(t.data[entry+2:]))
		at, ok := t.value(entry)
		inside := at.start > entry && at.end <= entry+entrySize
		apart := at.end <= t.first.start || at.start >= t.first.span().end
		if !ok || kind == 0 || kind >= len(typeSizes) && kind != typeUTF8 || !inside && !apart {
			return false
		}
	}
	return true
}

// states reports whether the block states a field. Windows stores titles and keywords in tags of its own.
// Complete packets in the block are not read, so they may state anything.
func (t tiffBlock) states(f caption.Field, m caption.Marks) bool {
	tag := [...]uint16{caption.Title: tagXPTitle, caption.Description: tagImageDescription, caption.Keywords: tagXPKeywords}[f]
	if f == caption.Description {
		text, _ := t.description()
		value := []string{text}
		if !caption.Blank(value) && !m.Ours(f, value) {
			return true
		}
	} else if entry, ok := t.find(t.first, tag); ok {
		at, readable := t.value(entry)
		return !readable || !caption.Blank([]string{string(at.of(t.data))})
	}
	_, hasXMP := t.find(t.first, tagXMP)
	_, hasIPTC := t.find(t.first, tagIPTC)
	return hasXMP || hasIPTC
}

// describe returns the block with a text as its ImageDescription, or without one if the text is empty. An
// existing one must be ours. No data of the block moves: a new entry requires a new first directory, which is a
// copy of the old one at the end of the block. The bytes of the old one stay, but nothing refers to them.
func (t tiffBlock) describe(text string) tiffBlock {
	entry, has := t.find(t.first, tagImageDescription)
	switch old, _ := t.description(); {
	case has && old == text, !has && text == "":
		return t
	case !has:
		t, entry = t.withEntry(tagImageDescription)
	default:
		// Our previous directory ends the block, unless another program has written since.
		t.data = slices.Clone(t.data)
		end := t.first.span().end
		if at, ok := t.value(entry); ok && at.end == len(t.data) && at.start >= end && isZero(t.data[end:at.start]) {
			t.data = t.data[:at.start]
		}
	}
	if text == "" {
		t.first = t.withoutEntry(t.first, entry)
		return t
	}
	value := append([]byte(text), 0)
	t.order.PutUint16(t.data[entry+2:], typeASCII)
	t.order.PutUint32(t.data[entry+4:], uint32(len(value)))
	if len(value) <= 4 {
		clear(t.data[entry+8 : entry+entrySize])
		copy(t.data[entry+8:], value)
		return t
	}
	if len(t.data)%2 == 1 {
		t.data = append(t.data, 0)
	}
	t.order.PutUint32(t.data[entry+8:], uint32(len(t.data)))
	t.data = append(t.data, value...)
	return t
}

// withEntry returns the block with an additional, empty entry in its first directory, in the order of tags.
func (t tiffBlock) withEntry(tag uint16) (tiffBlock, int) {
	old, place := t.first, 0
	for place < old.count && t.order.Uint16(t.data[old.entry(place):]) < tag {
		place++
	}
	data := slices.Grow(slices.Clone(t.data), 1+old.span().end-old.start+entrySize)
	if len(data)%2 == 1 {
		data = append(data, 0) // directories start on an even offset
	}
	t.first = directory{len(data), old.count + 1}
	data = t.order.AppendUint16(data, uint16(t.first.count))
	data = append(data, data[old.entry(0):old.entry(place)]...)
	entry := len(data)
	data = t.order.AppendUint16(data, tag)
	data = append(data, make([]byte, entrySize-2)...)
	data = append(data, data[old.entry(place):old.span().end]...)
	t.order.PutUint32(data[4:], uint32(t.first.start))
	t.data = data
	return t, entry
}

// withoutEntry removes an entry from a directory in place, changing the block's data.
func (t tiffBlock) withoutEntry(d directory, entry int) directory {
	end := d.span().end
	copy(t.data[entry:], t.data[entry+entrySize:end])
	clear(t.data[end-entrySize : end])
	d.count--
	t.order.PutUint16(t.data[d.start:], uint16(d.count))
	return d
}

// maxDirectories bounds the number of directories that are searched for GPS positions.
const maxDirectories = 8

// directories returns the first directory, its successors (the thumbnail's) and the EXIF directory. Readers
// look for GPS data in all of them. They do not overlap.
func (t tiffBlock) directories() []directory {
	all := []directory{t.first}
	add := func(at int) bool {
		d, ok := t.directory(int(t.order.Uint32(t.data[at:])))
		if !ok || slices.ContainsFunc(all, func(o directory) bool {
			return d.start < o.span().end && o.start < d.span().end
		}) {
			return false
		}
		all = append(all, d)
		return true
	}
	for following := true; following && len(all) < maxDirectories; {
		following = add(all[len(all)-1].next())
	}
	if entry, ok := t.find(t.first, tagExif); ok {
		add(entry + 8)
	}
	return all
}

// withoutPlace returns the block without its GPS directories: the pointers to them are removed, and their
// entries and values are overwritten with zeros. It reports whether there was one.
func (t tiffBlock) withoutPlace() (tiffBlock, bool) {
	data := t.data
	t.data = slices.Clone(data)
	removed := false
	all := t.directories()
	for i, d := range all {
		for entry, ok := t.find(d, tagGPS); ok; entry, ok = t.find(d, tagGPS) {
			t.blankPlace(int(t.order.Uint32(t.data[entry+8:])), all)
			d = t.withoutEntry(d, entry)
			removed = true
		}
		all[i] = d
	}
	t.first = all[0]
	if !removed {
		t.data = data
	}
	return t, removed
}

// blankPlace overwrites the existing entries of a GPS directory and their values with zeros. Some writers end
// the block with the last entry. The bytes of the directories to keep stay.
func (t tiffBlock) blankPlace(at int, keep []directory) {
	if at < tiffHeader || at > len(t.data)-2 {
		return
	}
	d := directory{at, min(int(t.order.Uint16(t.data[at:])), (len(t.data)-at-2)/entrySize)}
	blank := func(s span) {
		if s.start >= tiffHeader && !slices.ContainsFunc(keep, func(o directory) bool {
			return s.start < o.span().end && o.start < s.end
		}) {
			clear(s.of(t.data))
		}
	}
	for i := range d.count {
		if t.order.Uint16(t.data[d.entry(i):]) > lastGPSTag {
			continue // a broken pointer to other data, or another program's padding
		}
		if value, ok := t.value(d.entry(i)); ok {
			blank(value)
		}
		blank(span{d.entry(i), d.entry(i) + entrySize})
	}
}

// hidesPlace reports whether a complete XMP packet in the block may contain a GPS position.
func (t tiffBlock) hidesPlace() bool {
	entry, ok := t.find(t.first, tagXMP)
	if !ok {
		return false
	}
	at, readable := t.value(entry)
	return !readable || xmp.MentionsPlace(at.of(t.data))
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
