package embed

import (
	"bytes"
	"encoding/binary"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
)

// The signatures of the contents of a JPEG's segments.
const (
	jpegStart = "\xff\xd8"

	xmpSignature  = "http://ns.adobe.com/xap/1.0/\x00"
	exifSignature = "Exif\x00"
	mpfSignature  = "MPF\x00"

	extensionSignature = "http://ns.adobe.com/xmp/extension/\x00"
	extensionHead      = len(extensionSignature) + 32 + 4 + 4 // digest, total length, offset
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
	markerAPP13 = 0xed
)

// maxJPEGPacket is the longest packet of an APP1 segment, according to ISO 16684-3.
const maxJPEGPacket = 65502

// maxPayload is the maximum size of a segment without its marker and length.
const maxPayload = 0xffff - 2

// jpegHeader contains the positions of the parts before a JPEG's first scan.
type jpegHeader struct {
	place       int    // position for a new packet
	segment     span   // segment of the first XMP packet, including the marker; empty if there is none
	packet      span   // the packet in the segment
	exif        []span // payloads of segments with EXIF data; at most one is supported
	resources   []span // payloads of segments with Photoshop's resources
	extension   []byte // extended XMP, and further packets
	index       span   // the MPF index from its TIFF header on; empty if there is none
	scan        int    // start of the first scan
	credentials bool
}

func (w writer) writeJPEG(data []byte) File {
	h, ok := readJPEGHeader(data)
	if !ok {
		m := made{file: File{Sidecar: xmp.New(w.description)}}
		m.leave(OddStructure)
		m = w.finish(found{}, m)
		m.file.Data = data
		return m.file
	}
	f := h.found(data)
	f.place = f.place || w.options.StripPlace && goesOn(data, h.scan)
	m := w.make(f)
	edits := h.edits(data, m)
	if len(edits) == 0 {
		m.file.Data = data
		return m.file
	}
	m.file.Data = edits.apply(data)
	if !h.index.empty() && !fixIndex(data, m.file.Data, h.index, edits) {
		m.leave(IndexOdd)
		m = w.finish(found{}, m)
		m.file.Data = data
	}
	return m.file
}

// found returns the metadata of a JPEG. Of several segments with EXIF data, readers use the first.
func (h jpegHeader) found(data []byte) found {
	f := found{packetLimit: maxJPEGPacket, credentials: h.credentials}
	if !h.segment.empty() {
		f.packet = h.packet.of(data)
	}
	if len(h.exif) > 0 {
		f.tiff = h.tiff().of(data)
		f.tiffLimit = maxPayload - (h.tiff().start - h.exif[0].start)
	}
	switch len(h.resources) {
	case 0:
	case 1:
		f.resources = h.resources[0].of(data)[len(photoshopSignature):]
		f.resourcesLimit = maxPayload - len(photoshopSignature)
	default: // one list in parts, which might be split anywhere
		for _, field := range caption.Fields {
			f.stated[field] = true
		}
	}
	if xmp.MentionsCaption(h.extension) {
		for _, field := range caption.Fields {
			f.stated[field] = true
		}
	}
	f.credentials = f.credentials || xmp.MentionsProvenance(h.extension)
	f.place = len(h.exif) > 1 || xmp.MentionsPlace(h.extension)
	return f
}

// tiff returns the range of the TIFF block of the EXIF data.
func (h jpegHeader) tiff() span {
	return span{min(h.exif[0].start+len(exifSignature)+1, h.exif[0].end), h.exif[0].end}
}

// edits returns the edits that write m into the file.
func (h jpegHeader) edits(data []byte, m made) edits {
	var es edits
	if m.tiff != nil {
		start := h.exif[0].start
		es = append(es, edit{h.whole(h.exif[0]), jpegSegment(markerAPP1, data[start:h.tiff().start], m.tiff)})
	}
	if m.packet != nil {
		at := span{h.place, h.place}
		if !h.segment.empty() {
			at = h.segment
		}
		es = append(es, edit{at, jpegSegment(markerAPP1, []byte(xmpSignature), m.packet)})
	}
	if m.resources != nil {
		es = append(es, edit{h.whole(h.resources[0]), jpegSegment(markerAPP13, []byte(photoshopSignature), m.resources)})
	}
	return es
}

// whole returns the segment of a payload.
func (jpegHeader) whole(payload span) span { return span{payload.start - 4, payload.end} }

// jpegSegment returns a segment whose parts fit into it.
func jpegSegment(marker byte, signature, payload []byte) []byte {
	segment := make([]byte, 0, 4+len(signature)+len(payload))
	segment = append(segment, 0xff, marker)
	segment = binary.BigEndian.AppendUint16(segment, uint16(2+len(signature)+len(payload)))
	return append(append(segment, signature...), payload...)
}

// readJPEGHeader walks over the segments up to the first scan. Like decoders, it skips stray bytes between
// them. It is not ok if there is no scan.
//
// A new packet is inserted after JFIF and Exif, which many readers expect to be first, but never after an MPF
// index: the images of the index follow it, and its offsets are relative to the index, so they stay correct if
// both move together.
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
			h.scan = start
			return h, true
		}
		h.note(marker, data, span{start, end})
		at = end
	}
}

// goesOn reports whether data follows the end of an image whose first scan starts at at, usually another image
// or a video.
func goesOn(data []byte, at int) bool {
	for {
		marker, start, ok := nextMarker(data, at)
		switch {
		case !ok:
			return false
		case marker == markerEOI:
			return !isZero(data[start+2:])
		case marker == markerTEM || marker >= markerRST0 && marker <= markerRST7:
			at = start + 2
		case len(data)-start < 4:
			return true
		default:
			at = min(start+2+int(binary.BigEndian.Uint16(data[start+2:])), len(data))
		}
	}
}

// nextMarker finds the marker at or after at; start is the position of the byte 0xff directly before its code.
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
		case 0x00: // not a marker
			at += 2
		default:
			return code, at, true
		}
	}
}

// note records a segment that matters.
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
			h.exif = append(h.exif, payload)
		case h.segment.empty() && bytes.HasPrefix(body, []byte(xmpSignature)):
			h.segment = segment
			h.packet = span{payload.start + len(xmpSignature), payload.end}
		case bytes.HasPrefix(body, []byte(xmpSignature)):
			h.extension = append(h.extension, body...)
		case bytes.HasPrefix(body, []byte(extensionSignature)):
			h.extension = append(h.extension, body[min(extensionHead, len(body)):]...)
		}
	case markerAPP2:
		if h.index.empty() && bytes.HasPrefix(body, []byte(mpfSignature)) {
			h.index = span{payload.start + len(mpfSignature), payload.end}
		}
	case markerAPP11:
		h.credentials = h.credentials || isCredentials(body)
	case markerAPP13:
		if bytes.HasPrefix(body, []byte(photoshopSignature)) {
			h.resources = append(h.resources, payload)
		}
	}
}

func (h *jpegHeader) moveBehind(segment span) {
	if h.index.empty() {
		h.place = segment.end
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
