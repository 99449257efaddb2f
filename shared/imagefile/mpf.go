package imagefile

import (
	"math"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// The tag of CIPA DC-007 that lists the images, and the parts of its entries.
const (
	tagMPEntry   = 0xb002
	mpEntryBytes = 16
	mpSizeAt     = 4 // uint32, bytes of the image
	mpOffsetAt   = 8 // uint32, from the index's TIFF header; 0 for the first image
)

// fixIndex corrects an MPF index in out, which is data after edits: the offsets of images that moved relative
// to the index, and the size of the first image, which contains the edits. It returns false if a correction is
// required but impossible; out must then not be used.
func fixIndex(l Layout, data, out []byte, edits edit.Edits) bool {
	b, ok := l.First(MPF)
	if !ok {
		return true
	}
	index := b.Data
	entries, order, ok := mpEntries(index.Of(data))
	if !ok {
		// If all edits precede it, the index moves together with its images.
		return !edits.Shift(index.Start, len(data))
	}
	for at := index.Start + entries.Start; at < index.Start+entries.End; at += mpEntryBytes {
		sizeAt, offsetAt := at+mpSizeAt, at+mpOffsetAt
		field, value := 0, 0
		if offset := int(order.Uint32(data[offsetAt:])); offset != 0 {
			field, value = offsetAt, edits.Moved(index.Start+offset)-edits.Moved(index.Start)
		} else if size := int(order.Uint32(data[sizeAt:])); endsImage(data, size) {
			field, value = sizeAt, edits.Moved(size)
		} else {
			continue
		}
		if value < 0 || value > math.MaxUint32 {
			return false
		}
		order.PutUint32(out[edits.Moved(field):], uint32(value))
	}
	return true
}

// endsImage reports whether the image at the start of the file has size bytes: an end-of-image marker cannot
// occur within a scan.
func endsImage(data []byte, size int) bool {
	return size >= 4 && size <= len(data) && data[size-2] == 0xff && data[size-1] == markerEOI
}

// mpEntries finds the list of images in an index.
func mpEntries(index []byte) (entries edit.Span, order tiff.ByteOrder, ok bool) {
	t, err := tiff.Parse(index)
	if err != nil || t.First.Count != t.First.Stated {
		return edit.Span{}, nil, false
	}
	e, ok := t.Find(t.First, tagMPEntry)
	if !ok || e.Type != tiff.Undefined || e.Count%mpEntryBytes != 0 {
		return edit.Span{}, nil, false
	}
	entries, ok = t.Value(e)
	return entries, t.Order, ok
}
