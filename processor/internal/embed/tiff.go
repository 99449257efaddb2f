package embed

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// The tags of TIFF 6.0, EXIF 2.32 and Windows that matter here, all of the first
// directory as a rule.
const (
	tagImageDescription = 0x010e
	tagXMP              = 0x02bc
	tagIPTC             = 0x83bb
	tagExif             = 0x8769 // the place of the EXIF directory
	tagGPS              = 0x8825 // the place of the GPS directory
	tagXPTitle          = 0x9c9b
	tagXPKeywords       = 0x9c9e
)

const (
	lastGPSTag = 0x1f
	typeASCII  = 2
	typeUTF8   = 129 // of EXIF 3.0
	tiffHeader = 8
	entrySize  = 12
)

// byteOrder is one of the two orders of a TIFF block.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// tiffBlock is the TIFF block of EXIF data. Offsets in it count from its start, so
// nothing in it may move: maker notes have offsets that nobody knows.
type tiffBlock struct {
	data  []byte
	order byteOrder
	first directory
}

// directory is a list of entries in a TIFF block.
type directory struct{ start, count int }

func (d directory) entry(i int) int { return d.start + 2 + entrySize*i }
func (d directory) next() int       { return d.entry(d.count) } // where the offset of the next one stands
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

// directory reads where a directory ends. The GPS directory has a next one too,
// which is always 0.
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

// typeSizes are the bytes of a value of each type of TIFF and EXIF 3.0.
var typeSizes = [...]int{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4}

// value is where the value of an entry is: in the entry itself when it is short.
func (t tiffBlock) value(entry int) (span, bool) {
	size := 1 // as of UTF-8
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

// description is the ImageDescription up to its zero.
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

// sound tells whether every entry of the first directory can be read where it
// says that it is. A broken directory is not ours to copy.
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

// states tells whether the block says something of a field. Windows keeps titles
// and keywords in tags of its own. Whole packets in the block are not read, so
// they may say anything.
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

// describe is the block with a text as its ImageDescription, or with none when the
// text is empty. One that is there must be ours. Nothing of the block moves: a new
// entry takes a new first directory, which is put behind all else and is a copy of
// the old one; that stays as bytes that nothing leads to.
func (t tiffBlock) describe(text string) tiffBlock {
	entry, has := t.find(t.first, tagImageDescription)
	switch old, _ := t.description(); {
	case has && old == text, !has && text == "":
		return t
	case !has:
		t, entry = t.withEntry(tagImageDescription)
	default:
		// What we have written before ends the block, if nobody has written since.
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

// withEntry is the block with a first directory of one more entry, which is empty
// and in its place in the order of tags.
func (t tiffBlock) withEntry(tag uint16) (tiffBlock, int) {
	old, place := t.first, 0
	for place < old.count && t.order.Uint16(t.data[old.entry(place):]) < tag {
		place++
	}
	data := slices.Grow(slices.Clone(t.data), 1+old.span().end-old.start+entrySize)
	if len(data)%2 == 1 {
		data = append(data, 0) // A directory begins on a word.
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

// withoutEntry takes an entry out of a directory where it is, in the data of the
// block itself.
func (t tiffBlock) withoutEntry(d directory, entry int) directory {
	end := d.span().end
	copy(t.data[entry:], t.data[entry+entrySize:end])
	clear(t.data[end-entrySize : end])
	d.count--
	t.order.PutUint16(t.data[d.start:], uint16(d.count))
	return d
}

// maxDirectories bounds the directories that are searched for GPS positions.
const maxDirectories = 8

// directories are the first directory, those that follow it (that of the thumbnail)
// and that of EXIF, in all of which readers look for GPS data. None touches
// another.
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

// withoutPlace is the block without its GPS directories: nothing leads to them any
// more, and their entries and their values become zeros where they are. It tells
// whether there was one.
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

// blankPlace makes zeros of the entries of a GPS directory and of their values,
// as many as there are: some writers end the block with the last entry. What the
// directories to keep consist of stays.
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
			continue // a broken pointer that leads elsewhere, or somebody's padding
		}
		if value, ok := t.value(d.entry(i)); ok {
			blank(value)
		}
		blank(span{d.entry(i), d.entry(i) + entrySize})
	}
}

// hidesPlace tells whether a whole XMP packet in the block may tell a GPS position.
func (t tiffBlock) hidesPlace() bool {
	entry, ok := t.find(t.first, tagXMP)
	if !ok {
		return false
	}
	at, readable := t.value(entry)
	return !readable || xmp.MentionsPlace(at.of(t.data))
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
