package imagetest

import (
	"bytes"
	"encoding/binary"
)

// The tags and types of TIFF that the bombs use.
const (
	tagDescription = 0x010e
	tagSubIFDs     = 0x014a
	tagExifIFD     = 0x8769
	tagGPSIFD      = 0x8825
	tagInteropIFD  = 0xa005
	tagThumbnail   = 0x0201
	tagThumbLength = 0x0202
	typeASCII      = 2
	typeLong       = 4
	typeRational   = 5
	typeUndefined  = 7
)

// entry is an entry of a directory.
type entry struct {
	tag, kind    uint16
	count, value uint32
}

// directory returns a TIFF directory with the offset of the next one.
func directory(next uint32, entries ...entry) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.kind)
		b = binary.LittleEndian.AppendUint32(b, e.count)
		b = binary.LittleEndian.AppendUint32(b, e.value)
	}
	return binary.LittleEndian.AppendUint32(b, next)
}

// tiff returns a TIFF structure whose first directory is at offset 8.
func tiff(parts ...[]byte) []byte {
	return append([]byte("II*\x00\x08\x00\x00\x00"), bytes.Join(parts, nil)...)
}

// loopedTIFF returns a TIFF whose directory points to itself.
func loopedTIFF() []byte {
	return tiff(directory(8, entry{tagDescription, typeASCII, 4, 0x00636261}))
}

// exifBombs are valid images with EXIF that is endless to follow, or that costs more than its size. Metadata
// never fails an image.
func exifBombs() []Bomb {
	repeated := func(n int, e entry) []entry {
		list := make([]entry, n)
		for i := range list {
			list[i] = e
		}
		return list
	}
	const long = 8 + 2 + 5000*12 + 4
	cases := []struct {
		name string
		tiff []byte
	}{
		{"of a directory that follows itself", loopedTIFF()},
		{"of a directory within itself", tiff(directory(0, entry{tagExifIFD, typeLong, 1, 8}, entry{tagGPSIFD, typeLong, 1, 8}))},
		{"of a ring of directories", tiff(
			directory(0, entry{tagExifIFD, typeLong, 1, 26}), directory(0, entry{tagInteropIFD, typeLong, 1, 8}),
		)},
		{"of a tree without end", tiff(directory(8, repeated(5000, entry{tagExifIFD, typeLong, 1, 8})...))},
		{"of subdirectories without end", tiff(directory(8, entry{tagSubIFDs, typeLong, 0x3fffffff, 8}))},
		{"of a huge count", tiff(directory(0, entry{tagDescription, typeASCII, 0xffffffff, 8}))},
		{"of a count that wraps", tiff(directory(0, entry{tagDescription, typeRational, 0x20000001, 8}))},
		{"of values outside", tiff(directory(0xfffffff0, entry{tagDescription, typeASCII, 100, 0xffffff00}, entry{tagExifIFD, typeLong, 1, 0xfffffffe}))},
		{"of more entries than bytes", tiff([]byte{0xff, 0xff}, directory(0, entry{tagDescription, typeASCII, 4, 0x00636261})[2:])},
		{"of 5000 values in one place", tiff(directory(0, repeated(5000, entry{tagDescription, typeASCII, 5000, long})...), bytes.Repeat([]byte("a"), 5000))},
		{"of a thumbnail outside", tiff(directory(26, entry{tagExifIFD, typeLong, 1, 8}), directory(0,
			entry{tagThumbnail, typeLong, 1, 0xfffffff0}, entry{tagThumbLength, typeLong, 1, 0xffffffff}))},
		{"that ends in its header", []byte("II*\x00\xff\xff")},
		{"of neither byte order", []byte("XX*\x00\x08\x00\x00\x00\xff\xff")},
	}
	jpg, png := JPEG(64, 48), PNG(64, 48)
	var bombs []Bomb
	for _, c := range cases {
		bombs = append(
			bombs,
			Bomb{Name: "EXIF " + c.name + ".jpg", Data: inJPEG(jpg, segment(markerAPP1, append([]byte("Exif\x00\x00"), c.tiff...)))},
			Bomb{Name: "EXIF " + c.name + ".png", Data: inPNG(png, chunk("eXIf", c.tiff))},
		)
	}
	// A PNG chunk can contain more: each of 65,535 entries refers to the same 4 MB.
	const behind = 8 + 2 + 65535*12 + 4
	shared := tiff(directory(0, repeated(65535, entry{tagDescription, typeUndefined, 4 << 20, behind})...), bytes.Repeat([]byte("a"), 4<<20))
	copied := tiff(directory(0, repeated(65535, entry{tagDescription, typeASCII, 4 << 20, behind})...), bytes.Repeat([]byte("a"), 4<<20))
	return append(
		bombs,
		Bomb{Name: "EXIF of 65535 values in one place.png", Data: inPNG(png, chunk("eXIf", shared))},
		Bomb{Name: "EXIF of 65535 texts in one place.png", Data: inPNG(png, chunk("eXIf", copied))},
		Bomb{Name: "EXIF 150 times.jpg", Data: inJPEG(jpg, bytes.Repeat(segment(markerAPP1, append([]byte("Exif\x00\x00"), tiff(directory(8, repeated(5000, entry{tagExifIFD, typeLong, 1, 8})...))...)), 150))},
	)
}
