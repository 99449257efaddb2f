package embed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// images reads an MPF index as its readers do: the first image by its size, the second by offset and size.
func images(t *testing.T, data []byte) (first, second []byte) {
	t.Helper()
	l, err := imagefile.LayoutOf(data)
	if err != nil {
		t.Fatal(err)
	}
	entries, order, ok := mpEntries(data, l)
	if !ok || entries.End-entries.Start != 2*16 {
		t.Fatalf("entries %v, ok %v", entries, ok)
	}
	e := entries.Of(data)
	if offset := order.Uint32(e[8:]); offset != 0 {
		t.Fatalf("offset of the first image %d", offset)
	}
	index, _ := l.First(imagefile.MPF)
	start := index.Data.Start + int(order.Uint32(e[24:]))
	return data[:order.Uint32(e[4:])], data[start : start+int(order.Uint32(e[20:]))]
}

// mpEntries finds the list of images in an MPF index.
func mpEntries(data []byte, l imagefile.Layout) (entries edit.Span, order tiff.ByteOrder, ok bool) {
	index, _ := l.First(imagefile.MPF)
	t, err := tiff.Parse(index.Data.Of(data))
	if err != nil {
		return edit.Span{}, nil, false
	}
	e, ok := t.Find(t.First, 0xb002)
	if !ok || e.Type != tiff.Undefined || e.Count%16 != 0 {
		return edit.Span{}, nil, false
	}
	at, ok := t.Value(e)
	return edit.Span{Start: index.Data.Start + at.Start, End: index.Data.Start + at.End}, t.Order, ok
}

func TestMPFStaysRight(t *testing.T) {
	old := xmpSegment(foreign(motionPhoto))
	for _, order := range []tiff.ByteOrder{binary.BigEndian, binary.LittleEndian} {
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
