package imagefile

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// flirName starts each APP1 segment of the data of a FLIR thermal camera. Three bytes follow: 1, the number of the
// segment, and the number of the last one.
const (
	flirName = "FLIR\x00"
	flirHead = len(flirName) + 3
)

const (
	flirHeader   = 64 // of the data
	flirEntry    = 32 // of its directory
	flirPosition = 0x2b
	// maxFLIRPositions bounds the number of positions. Cameras write one.
	maxFLIRPositions = 16
)

// FLIRPositions returns the ranges of the file with the GPS records of a FLIR thermal camera. It is not ok if there may
// be others, because the data cannot be read. The structure is undocumented; it is that of ExifTool's FLIR module.
func (l Layout) FLIRPositions(data []byte) (places []edit.Span, ok bool) {
	blocks := l.All(FLIR)
	if len(blocks) == 0 {
		return nil, true
	}
	// The data may be split anywhere.
	var all []byte
	for i, b := range blocks {
		head := data[b.Whole.Start+4 : b.Data.Start]
		if b.Data.Empty() || len(head) < flirHead || int(head[flirHead-2]) != i || int(head[flirHead-1]) != len(blocks)-1 {
			return nil, false
		}
		all = append(all, b.Data.Of(data)...)
	}
	var records []edit.Span
	if records, ok = flirRecords(all); !ok {
		return nil, false
	}
	for _, r := range records {
		start := 0
		for _, b := range blocks {
			end := start + b.Data.End - b.Data.Start
			if part := (edit.Span{Start: max(r.Start, start), End: min(r.End, end)}); part.Start < part.End {
				shift := b.Data.Start - start
				places = append(places, edit.Span{Start: part.Start + shift, End: part.End + shift})
			}
			start = end
		}
	}
	return places, true
}

// flirRecords returns the ranges of the GPS records, which do not overlap.
func flirRecords(all []byte) (records []edit.Span, ok bool) {
	if len(all) < flirHeader || !bytes.HasPrefix(all, []byte("FFF\x00")) && !bytes.HasPrefix(all, []byte("AFF\x00")) {
		return nil, false
	}
	var order binary.ByteOrder = binary.BigEndian
	version := func() bool { v := order.Uint32(all[0x14:]); return v >= 100 && v < 200 }
	if !version() {
		if order = binary.LittleEndian; !version() {
			return nil, false
		}
	}
	at, n := int64(order.Uint32(all[0x18:])), int64(order.Uint32(all[0x1c:]))
	if at+n*flirEntry > int64(len(all)) {
		return nil, false
	}
	for i := range n {
		entry := all[at+i*flirEntry:][:flirEntry]
		if order.Uint16(entry) != flirPosition {
			continue
		}
		start, length := int64(order.Uint32(entry[12:])), int64(order.Uint32(entry[16:]))
		if start+length > int64(len(all)) || len(records) == maxFLIRPositions {
			return nil, false
		}
		r := edit.Span{Start: int(start), End: int(start + length)}
		directory := edit.Span{Start: int(at), End: int(at + n*flirEntry)}
		overlaps := slices.ContainsFunc(records, r.Overlaps)
		if overlaps || r.Overlaps(directory) || start < flirHeader {
			return nil, false
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b edit.Span) int { return a.Start - b.Start })
	return records, true
}
