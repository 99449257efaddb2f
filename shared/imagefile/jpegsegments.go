package imagefile

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// JPEG is ITU-T T.81 in a JFIF or Exif file.
var JPEG = &Format{
	Name: "jpeg", MediaType: "image/jpeg", Extensions: []string{".jpg", ".jpeg"}, Magic: jpegMagic,
	read: readJPEG, layout: layOutJPEG, goesOn: jpegGoesOn,
	limits: func() (int, int, int) {
		return maxJPEGPacket, maxSegment - len(exifName) - 1, maxSegment - len(photoshopName)
	},
	edits: editJPEG, fix: fixIndex, picture: jpegPicture,
}

// jpegMagic is the start-of-image marker and the first byte of the marker that must follow it.
const jpegMagic = "\xff\xd8\xff"

// The first bytes of the segments that contain metadata. Exif has two zero bytes after its name; some writers
// store another value in the second.
const (
	exifName      = "Exif\x00"
	xmpName       = "http://ns.adobe.com/xap/1.0/\x00"
	extensionName = "http://ns.adobe.com/xmp/extension/\x00"
	iccName       = "ICC_PROFILE\x00"
	mpfName       = "MPF\x00"
	photoshopName = "Photoshop 3.0\x00"

	iccHead       = len(iccName) + 1 + 1            // number of the segment, from 1, and their count
	extensionHead = len(extensionName) + 32 + 4 + 4 // digest, total length, offset
)

const (
	maxJPEGPacket = 65502      // longest packet of an APP1 segment, according to ISO 16684-3
	maxSegment    = 0xffff - 2 // bytes of a segment without its marker and length
)

// The second bytes of the JPEG markers that need special treatment (ITU-T T.81, table B.1).
const (
	markerTEM   = 0x01
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerDHP   = 0xde
	markerEXP   = 0xdf
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP11 = 0xeb
	markerAPP13 = 0xed
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerSOF55 = 0xf7 // JPEG-LS
	markerCOM   = 0xfe
)

// jpegMarkers walks over the markers of a JPEG file. Like libjpeg, it skips stray bytes between segments.
type jpegMarkers struct {
	data []byte
	pos  int
}

// next finds the next marker that has a segment, or the end-of-image marker, and moves behind it. It skips
// entropy-coded data, and the few stray bytes that some cameras leave between segments.
func (m *jpegMarkers) next() (byte, error) {
	data, pos := m.data, m.pos
	for {
		// A hostile file has a marker every other byte: checking a few bytes directly saves a call for each of
		// them.
		for near := min(pos+8, len(data)); pos < near && data[pos] != 0xff; {
			pos++
		}
		if pos == len(data) || data[pos] != 0xff {
			i := bytes.IndexByte(data[pos:], 0xff)
			if i < 0 {
				m.pos = len(data)
				return 0, errNoEnd
			}
			pos += i
		}
		pos++
		for pos < len(data) && data[pos] == 0xff {
			pos++
		}
		if pos == len(data) {
			m.pos = pos
			return 0, errNoEnd
		}
		marker := data[pos]
		pos++
		m.pos = pos
		switch {
		case marker <= markerTEM, marker >= markerRST0 && marker <= markerRST7:
			continue
		case marker < markerSOF0:
			return 0, damagedJPEG("unknown marker 0x%02x", marker)
		case marker == markerSOI:
			return 0, damagedJPEG("a second picture begins before the end of the first")
		}
		return marker, nil
	}
}

// errNoEnd is the error of a file that is cut short.
var errNoEnd = damagedJPEG("ends before its end-of-image marker")

// segment returns the payload of the segment whose marker was just read, and moves behind it. Like libjpeg, it
// accepts the lengths 0 and 1, which are impossible, for segments that need not be understood.
func (m *jpegMarkers) segment(marker byte) (edit.Span, error) {
	rest := m.data[m.pos:]
	if len(rest) < 2 {
		return edit.Span{}, errNoEnd
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 && (marker >= markerAPP0 && marker <= markerAPP15 || marker == markerCOM || marker == markerDNL) {
		n = 2
	}
	if n < 2 {
		return edit.Span{}, damagedJPEG("segment 0x%02x has an impossible length", marker)
	}
	if n > len(rest) {
		return edit.Span{}, errNoEnd
	}
	m.pos += n
	return edit.Span{Start: m.pos - n + 2, End: m.pos}, nil
}

// layOutJPEG walks over the segments up to the first scan.
func layOutJPEG(data []byte) (Layout, bool) {
	var l Layout
	m := jpegMarkers{data: data, pos: 2}
	for {
		marker, err := m.next()
		if err != nil || marker == markerEOI {
			return l, false
		}
		segment, err := m.segment(marker)
		if err != nil {
			return l, false
		}
		l.noteSegment(data, marker, segment)
		if marker == markerSOS {
			return l, true
		}
	}
}

// jpegGoesOn walks from the first scan to the end of the image.
func jpegGoesOn(l Layout, data []byte) bool {
	m := jpegMarkers{data: data, pos: l.pixels}
	for {
		marker, err := m.next()
		if err == nil && marker == markerEOI {
			return !isZero(data[m.pos:])
		}
		if err == nil {
			_, err = m.segment(marker)
		}
		if err != nil {
			return err != errNoEnd //nolint:errorlint // it is never wrapped
		}
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// noteSegment records the metadata in a segment, and the position for a new packet: after JFIF and Exif, which
// many readers expect to be first, but never after an MPF index. The images of the index follow it, and its
// offsets are relative to the index, so they stay correct if both move together.
func (l *Layout) noteSegment(data []byte, marker byte, payload edit.Span) {
	body := payload.Of(data)
	whole := edit.Span{Start: payload.Start - 4, End: payload.End}
	note := func(kind Kind, name int) {
		l.add(Block{Kind: kind, Whole: whole, Data: edit.Span{Start: min(payload.Start+name, payload.End), End: payload.End}})
	}
	if l.pixels > 0 { // few readers look for metadata after the start of the pixels
		return
	}
	named := func(name string) bool { return len(body) >= len(name) && string(body[:len(name)]) == name }
	switch marker {
	case markerSOS:
		if l.pixels == 0 {
			l.pixels = whole.Start
		}
	case markerAPP0:
		l.moveBehind(whole)
	case markerAPP1: // XMP uses APP1 too and may come first
		switch {
		case named(exifName):
			l.moveBehind(whole)
			note(EXIF, len(exifName)+1)
		case named(xmpName):
			note(XMP, len(xmpName))
		case named(extensionName):
			note(ExtendedXMP, extensionHead)
		case named(flirName):
			note(FLIR, flirHead)
		}
	case markerAPP2:
		switch {
		case named(iccName) && len(body) > iccHead && body[iccHead-2] == 1:
			note(ICC, iccHead)
		case named(iccName) && len(body) > iccHead && body[iccHead-2] > 1:
			note(ExtendedICC, iccHead)
		case named(mpfName):
			note(MPF, len(mpfName))
			l.fixed = true
		}
	case markerAPP11:
		if isCredentials(body) {
			note(Credentials, 0)
		}
	case markerAPP13:
		if named(photoshopName) {
			note(Photoshop, len(photoshopName))
		}
	}
}

func (l *Layout) moveBehind(segment edit.Span) {
	if !l.fixed {
		l.place = segment.End
	}
}

// isCredentials reports whether an APP11 segment starts a C2PA manifest store: a JPEG XT box (ISO/IEC 18477-3:
// "JP", instance, number) that is a JUMBF superbox (ISO/IEC 19566-5) of the type c2pa.
func isCredentials(body []byte) bool {
	const common, box = 8, 8
	if len(body) < common+box || string(body[:2]) != "JP" || string(body[common+4:common+box]) != "jumb" {
		return false
	}
	return bytes.Contains(body[common+box:], []byte("c2pa"))
}

// editJPEG returns the edits that write a change.
func editJPEG(l Layout, data []byte, c Change) edit.Edits {
	var es edit.Edits
	replace := func(kind Kind, with []byte) {
		if b, ok := l.First(kind); ok && with != nil {
			marker, name := data[b.Whole.Start+1], data[b.Whole.Start+4:b.Data.Start]
			es = append(es, edit.Edit{Span: b.Whole, With: jpegSegment(marker, name, with)})
		}
	}
	replace(EXIF, c.EXIF)
	if _, ok := l.First(XMP); !ok && c.XMP != nil {
		at := max(l.place, 2)
		es = append(es, edit.Edit{Span: edit.Span{Start: at, End: at}, With: jpegSegment(markerAPP1, []byte(xmpName), c.XMP)})
	}
	replace(XMP, c.XMP)
	return append(es, replacePhotoshop(l, data, c.Photoshop)...)
}

// replacePhotoshop returns the edits that write image resources in place of the first segment of them, in several
// segments if one is too short, and remove the others.
func replacePhotoshop(l Layout, data, resources []byte) edit.Edits {
	blocks := l.All(Photoshop)
	if resources == nil || len(blocks) == 0 {
		return nil
	}
	var with []byte
	first := blocks[0]
	name := data[first.Whole.Start+4 : first.Data.Start]
	for part := range slices.Chunk(resources, maxSegment-len(name)) {
		with = append(with, jpegSegment(markerAPP13, name, part)...)
	}
	es := edit.Edits{{Span: first.Whole, With: with}}
	for _, b := range blocks[1:] {
		es = append(es, edit.Edit{Span: b.Whole})
	}
	return es
}

// jpegSegment returns a segment whose parts fit into it.
func jpegSegment(marker byte, name, payload []byte) []byte {
	segment := make([]byte, 0, 4+len(name)+len(payload))
	segment = append(segment, 0xff, marker)
	segment = binary.BigEndian.AppendUint16(segment, uint16(2+len(name)+len(payload)))
	return append(append(segment, name...), payload...)
}
