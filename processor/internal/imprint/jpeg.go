package imprint

import (
	"bytes"
	"encoding/binary"

	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// The signatures of what a JPEG's segments hold.
const (
	jpegStart = "\xff\xd8"

	xmpSignature  = "http://ns.adobe.com/xap/1.0/\x00"
	exifSignature = "Exif\x00"
	mpfSignature  = "MPF\x00"
)

// The markers of ITU-T T.81, table B.1, that matter here.
const (
	markerTEM   = 0x01
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP11 = 0xeb
)

// maxJPEGPacket is the longest packet of an APP1 segment, as ISO 16684-3 puts it.
const maxJPEGPacket = 65502

// jpegHeader is where things lie in front of a JPEG's first scan.
type jpegHeader struct {
	place       int  // where a new packet goes
	segment     span // of the first XMP packet, marker included; empty when there is none
	packet      span // the packet in it
	index       span // the MPF index from its TIFF header on; empty when there is none
	credentials bool
}

func writeJPEG(data []byte, d xmp.Description) File {
	h, ok := readJPEGHeader(data)
	switch {
	case !ok:
		return untouched(data, OddStructure)
	case h.credentials:
		return untouched(data, Credentials)
	}
	var old []byte
	if h.segment.empty() {
		h.segment = span{h.place, h.place}
	} else {
		old = h.packet.of(data)
	}
	p, outcome, warning := packet(old, d, maxJPEGPacket)
	if p == nil {
		return untouched(data, warning)
	}

	payload := len(xmpSignature) + len(p)
	segment := make([]byte, 0, 4+payload)
	segment = append(segment, 0xff, markerAPP1)
	segment = binary.BigEndian.AppendUint16(segment, uint16(2+payload)) //nolint:gosec // maxJPEGPacket bounds it
	segment = append(append(segment, xmpSignature...), p...)

	out := replace(data, h.segment, segment)
	if !h.index.empty() && !mendIndex(data, out, h.index, h.segment) {
		return untouched(data, IndexOdd)
	}
	return File{Data: out, Outcome: outcome, Warning: warning}
}

// replace is data with other bytes in the place of a range, in a slice of its
// own.
func replace(data []byte, at span, with []byte) []byte {
	out := make([]byte, 0, len(data)-(at.end-at.start)+len(with))
	out = append(out, data[:at.start]...)
	out = append(out, with...)
	return append(out, data[at.end:]...)
}

// readJPEGHeader walks over the segments up to the first scan, as lenient about
// stray bytes between them as decoders are. It is not ok when there is no scan.
//
// A new packet goes behind JFIF and Exif, which many readers expect to be first,
// but never behind an MPF index: what that points to lies behind it, and its
// offsets count from the index, so they stay right when both move together.
func readJPEGHeader(data []byte) (jpegHeader, bool) {
	h := jpegHeader{place: len(jpegStart)}
	at := len(jpegStart)
	for {
		marker, start, ok := nextMarker(data, at)
		if !ok {
			return h, false
		}
		switch {
		case marker == markerTEM || marker >= markerRST0 && marker <= markerRST7:
			at = start + 2
			continue
		case marker == markerSOI || marker == markerEOI:
			return h, false
		}
		if len(data)-start < 4 {
			return h, false
		}
		length := int(binary.BigEndian.Uint16(data[start+2:]))
		end := start + 2 + length
		if length < 2 || end > len(data) {
			return h, false
		}
		if marker == markerSOS {
			return h, true
		}
		h.note(marker, data, span{start, end})
		at = end
	}
}

// nextMarker finds the marker at or after at; start is the byte 0xff directly
// before its code.
func nextMarker(data []byte, at int) (marker byte, start int, ok bool) {
	for {
		i := bytes.IndexByte(data[at:], 0xff)
		if i < 0 || at+i+1 >= len(data) {
			return 0, 0, false
		}
		at += i
		switch code := data[at+1]; code {
		case 0xff: // a fill byte
			at++
		case 0x00: // no marker
			at += 2
		default:
			return code, at, true
		}
	}
}

// note remembers a segment that matters.
func (h *jpegHeader) note(marker byte, data []byte, segment span) {
	payload := span{segment.start + 4, segment.end}
	body := payload.of(data)
	switch marker {
	case markerAPP0:
		h.moveBehind(segment)
	case markerAPP1:
		switch {
		case bytes.HasPrefix(body, []byte(exifSignature)):
			h.moveBehind(segment)
		case h.segment.empty() && bytes.HasPrefix(body, []byte(xmpSignature)):
			h.segment = segment
			h.packet = span{payload.start + len(xmpSignature), payload.end}
		}
	case markerAPP2:
		if h.index.empty() && bytes.HasPrefix(body, []byte(mpfSignature)) {
			h.index = span{payload.start + len(mpfSignature), payload.end}
		}
	case markerAPP11:
		h.credentials = h.credentials || isCredentials(body)
	}
}

func (h *jpegHeader) moveBehind(segment span) {
	if h.index.empty() {
		h.place = segment.end
	}
}

// isCredentials tells whether an APP11 segment begins a C2PA manifest store: a
// JPEG XT box (ISO/IEC 18477-3: "JP", instance, number) that is a JUMBF
// superbox (ISO/IEC 19566-5) of the type c2pa.
func isCredentials(body []byte) bool {
	const common, box = 8, 8
	if len(body) < common+box || string(body[:2]) != "JP" || string(body[common+4:common+box]) != "jumb" {
		return false
	}
	return bytes.Contains(body[common+box:], []byte("c2pa"))
}
