package embed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// images reads an MPF index as its readers do: the first image by its size, the second by offset and size.
func images(t *testing.T, data []byte) (first, second []byte) {
	t.Helper()
	h, ok := readJPEGHeader(data)
	if !ok || h.index.empty() {
		t.Fatal("no index")
	}
	entries, order, ok := mpEntries(data, h.index)
	if !ok || entries.end-entries.start != 2*mpEntryBytes {
		t.Fatalf("entries %v, ok %v", entries, ok)
	}
	e := entries.of(data)
	if offset := order.Uint32(e[8:]); offset != 0 {
		t.Fatalf("offset of the first image %d", offset)
	}
	start := h.index.start + int(order.Uint32(e[24:]))
	return data[:order.Uint32(e[4:])], data[start : start+int(order.Uint32(e[20:]))]
}

func TestMPFStaysRight(t *testing.T) {
	old := xmpSegment(foreign(motionPhoto))
	for _, order := range []byteOrder{binary.BigEndian, binary.LittleEndian} {
		for _, c := range []struct {
			name          string
			before, after string
			outcome       Outcome
		}{
			{"no packet", jfif + exif, icc, Added},
			{"packet before the index", jfif + exif + old, icc, Merged},
			{"packet after the index", jfif + exif, icc + old, Merged},
			{"Exif after the index", jfif, exif, Added},
			{"everything is filled in", exifSegment(cameraTIFF(order)) + iptcSegment(iimVersion), icc, Added},
			{"everything, around the index", old, icc + exifSegment(cameraTIFF(order)) + iptcSegment(iimVersion), Merged},
		} {
			t.Run(order.String()+" "+c.name, func(t *testing.T) {
				data, second := multiPicture(t, order, c.before, c.after)
				f := write(t, data)
				expect(t, f, c.outcome, "")
				samePixels(t, data, f.Data)
				gotFirst, gotSecond := images(t, f.Data)
				if !bytes.Equal(gotSecond, second) {
					t.Error("the index does not point to the second image")
				}
				samePixels(t, data, gotFirst)
				if tail := f.Data[len(gotFirst):]; !bytes.HasPrefix(tail, second) {
					t.Error("the first image differs in size from the index")
				}
				if !strings.HasSuffix(string(f.Data), "a trailer of the camera") {
					t.Error("the trailer is missing")
				}
			})
		}
	}
}

// TestMPFShrinks merges without the packet's padding, so that the following data moves towards the start.
func TestMPFShrinks(t *testing.T) {
	packet := strings.Replace(foreign(motionPhoto), `<?xpacket end`, strings.Repeat(" ", 63300)+`<?xpacket end`, 1)
	data, second := multiPicture(t, binary.BigEndian, jfif, xmpSegment(packet))
	f := write(t, data)
	expect(t, f, Merged, "")
	if len(f.Data) >= len(data) {
		t.Fatal("nothing shrank")
	}
	first, got := images(t, f.Data)
	if !bytes.Equal(got, second) || !bytes.HasSuffix(first, []byte("\xff\xd9")) {
		t.Error("the index is wrong")
	}
}

// TestMPFNotUnderstood verifies that an unreadable index does not prevent a write as long as it moves together
// with its images.
func TestMPFNotUnderstood(t *testing.T) {
	old := xmpSegment(foreign(motionPhoto))
	good := "MM\x00*\x00\x00\x00\x08\x00\x01\xb0\x02\x00\x07\x00\x00\x00\x10\x00\x00\x00\x1a\x00\x00\x00\x00"
	for name, index := range map[string]string{
		"no TIFF header":         "XX\x00*\x00\x00\x00\x08\x00\x00",
		"IFD in the header":      "MM\x00*\x00\x00\x00\x02\x00\x00",
		"IFD beyond the end":     "MM\x00*\xff\xff\xff\xff\x00\x00",
		"fields beyond the end":  "MM\x00*\x00\x00\x00\x08\xff\xff",
		"no entries":             "MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00",
		"entries beyond the end": good + strings.Repeat("\x00", 15),
		"half an entry":          strings.Replace(good, "\x00\x10", "\x00\x0f", 1) + strings.Repeat("\x00", 16),
		"entries of text":        strings.Replace(good, "\x00\x07", "\x00\x02", 1) + strings.Repeat("\x00", 16),
	} {
		t.Run(name, func(t *testing.T) {
			index = segment(markerAPP2, mpfSignature+index)
			expect(t, write(t, withSegments(plainJPEG(t), jfif, index)), Added, "")
			expect(t, write(t, withSegments(plainJPEG(t), jfif, old, index)), Merged, "")
			expect(t, write(t, withSegments(plainJPEG(t), jfif, index, old)), None, IndexOdd)
		})
	}
	t.Run("unknown offset", func(t *testing.T) {
		index := segment(markerAPP2, mpfSignature+good+"\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00")
		expect(t, write(t, withSegments(plainJPEG(t), jfif, index, old)), None, IndexOdd)
		expect(t, write(t, withSegments(plainJPEG(t), jfif, old, index)), Merged, "")
	})
	t.Run("size that was wrong before", func(t *testing.T) {
		index := segment(markerAPP2, mpfSignature+good+"\x00\x00\x00\x00\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00\x00")
		f := write(t, withSegments(plainJPEG(t), jfif, index))
		expect(t, f, Added, "")
		if !bytes.Contains(f.Data, []byte(index)) {
			t.Error("an unknown number was changed")
		}
	})
}
