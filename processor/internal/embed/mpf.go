package embed

import (
	"encoding/binary"
	"math"
)

// The tag of CIPA DC-007 that lists the images, and the parts of its entries.
const (
	tagMPEntry   = 0xb002
	typeUndef    = 7
	mpEntryBytes = 16
	mpSizeAt     = 4 // uint32, bytes of the image
	mpOffsetAt   = 8 // uint32, from the index's TIFF header; 0 for the first image
)

// fixIndex corrects an MPF index in out, which is data after edits: the offsets of images that moved relative
// to the index, and the size of the first image, which contains the edits. It returns false if a correction is
// required but impossible; out must then not be used.
func fixIndex(data, out []byte, index span, edits edits) bool {
	entries, order, ok := mpEntries(data, index)
	if !ok {
		// If all edits precede it, the index moves together with its images.
		return !edits.shift(index.start, len(data))
	}
	for at := entries.start; at < entries.end; at += mpEntryBytes {
		sizeAt, offsetAt := at+mpSizeAt, at+mpOffsetAt
		field, value := 0, 0
		if offset := int(order.Uint32(data[offsetAt:])); offset != 0 {
			field, value = offsetAt, edits.moved(index.start+offset)-edits.moved(index.start)
		} else if size := int(order.Uint32(data[sizeAt:])); endsImage(data, size) {
			field, value = sizeAt, edits.moved(size)
		} else {
			continue
		}
		if value < 0 || value > math.MaxUint32 {
			return false
		}
		order.PutUint32(out[edits.moved(field):], uint32(value))
	}
	return true
}

// endsImage reports whether the image at the start of the file has size bytes: an end-of-image marker cannot
// occur within a scan.
func endsImage(data []byte, size int) bool {
	return size >= 4 && size <= len(data) && data[size-2] == 0xff && data[size-1] == markerEOI
}

// mpEntries finds the list of images in an index.
func mpEntries(data []byte, index span) (entries span, order binary.ByteOrder, ok bool) {
	body := index.of(data)
	if len(body) < 8 {
		return span{}, nil, false
	}
	switch string(body[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return span{}, nil, false
	}
	at := int(order.Uint32(body[4:]))
	if at < 8 || at > len(body)-2 {
		return span{}, nil, false
	}
	count := int(order.Uint16(body[at:]))
	at += 2
	if count > (len(body)-at)/12 {
		return span{}, nil, false
	}
	for field := range count {
		f := body[at+12*field:]
		if order.Uint16(f) != tagMPEntry {
			continue
		}
		size, start := int(order.Uint32(f[4:])), int(order.Uint32(f[8:]))
		if order.Uint16(f[2:]) != typeUndef || size%mpEntryBytes != 0 || start > len(body) || size > len(body)-start {
			return span{}, nil, false
		}
		return span{index.start + start, index.start + start + size}, order, true
	}
	return span{}, nil, false
}
