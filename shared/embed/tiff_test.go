package embed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// TestDescribeAnyBlock describes a block repeatedly. It verifies that the last description counts, that the
// rest of the block does not move, and that the block does not grow with the number of runs.
func TestDescribeAnyBlock(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.SampledFrom([]tiff.ByteOrder{binary.BigEndian, binary.LittleEndian}).Draw(rt, "order")
		more := []entry{}
		if rapid.Bool().Draw(rt, "a tag before") {
			more = append(more, ascii(0x010d, "odd"+strings.Repeat("x", rapid.IntRange(0, 9).Draw(rt, "length"))))
		}
		before := append(cameraTIFF(order, more...), strings.Repeat("\x00", rapid.IntRange(0, 3).Draw(rt, "tail"))...)
		block, err := tiff.Parse(before)
		if err != nil || !block.Sound() {
			rt.Fatal("the fixture is broken")
		}
		kept := bytes.Clone(before)
		texts := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{1,40}`), 1, 6).Draw(rt, "texts")
		for _, text := range texts {
			block = block.WithText(tiff.TagImageDescription, text)
			again, err := tiff.Parse(block.Data)
			if got, has := tiffDescription(again); err != nil || !again.Sound() || !has || got != text {
				rt.Fatalf("reads %q %v, want %q", got, has, text)
			}
			tags := []uint16{}
			for e := range again.Entries(again.First) {
				tags = append(tags, e.Tag)
			}
			for i := range tags[1:] {
				if tags[i] >= tags[i+1] {
					rt.Fatalf("out of order: %x", tags)
				}
			}
			if again.First.Start%2 != 0 {
				rt.Fatal("a directory on an odd byte")
			}
		}
		if !bytes.Equal(before, kept) {
			rt.Fatal("the input was changed")
		}
		once, _ := tiff.Parse(before)
		if once = once.WithText(tiff.TagImageDescription, texts[len(texts)-1]); !bytes.Equal(once.Data, block.Data) {
			rt.Fatal("describing many times differs from describing once")
		}
		copy(block.Data[4:8], before[4:8])
		if !bytes.HasPrefix(block.Data, before) {
			rt.Fatal("some data has moved")
		}
		gone := once.WithText(tiff.TagImageDescription, "")
		if _, has := tiffDescription(gone); has || !gone.Sound() {
			rt.Fatal("the description remains")
		}
	})
}

// TestDescribesSoundBlocksOnly lists blocks that stay unchanged.
func TestDescribesSoundBlocksOnly(t *testing.T) {
	one := func(entry string) string { return "MM\x00*\x00\x00\x00\x08\x00\x01" + entry + "\x00\x00\x00\x00" }
	exif := one("\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a")
	for name, block := range map[string]string{
		"nothing":                    "",
		"a header":                   "MM\x00*\x00\x00\x00\x08",
		"no TIFF":                    "XX\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00",
		"BigTIFF":                    "MM\x00+\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00",
		"a directory too low":        "MM\x00*\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"a directory beyond the end": "MM\x00*\x00\x00\x00\x08\xff\xff\x00\x00\x00\x00",
		"no next directory":          "MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00",
		"a value beyond the end":     one("\x01\x0f\x00\x02\x00\x00\x00\x40\x00\x00\x00\x08"),
		"a huge value":               one("\x01\x0f\x00\x05\xff\xff\xff\xff\x00\x00\x00\x08"),
		"a value in its own entry":   one("\x01\x0f\x00\x02\x00\x00\x00\x06\x00\x00\x00\x08"),
		"no type":                    one("\x01\x0f\x00\x00\x00\x00\x00\x01\x00\x00\x00\x08"),
		// Readers would find the appended data there.
		"an exposure beyond the end": exif + "\x00\x01\x92\x0a\x00\x05\x00\x00\x00\x01\x00\x00\x00\x40\x00\x00\x00\x00",
		"a position beyond the end":  one("\x88\x25\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a") + "\x00\x01\x00\x02\x00\x05\x00\x00\x00\x03\x00\x00\x00\x40\x00\x00\x00\x00",
		"EXIF beyond the end":        exif,
		"a part of EXIF":             exif + "\x00\x02\x92\x09\x00\x03\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00",
		"a directory beyond EXIF":    exif + "\x00\x01\xa0\x05\x00\x04\x00\x00\x00\x01\x00\x00\x00\x40\x00\x00\x00\x00",
		"another beyond the end":     "MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x40",
		"the first directory again":  "MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x08",
		"a thumbnail beyond the end": "MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x0e\x00\x02\x02\x01\x00\x04\x00\x00\x00\x01\x00\x00\x00\x2c\x02\x02\x00\x04\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x00",
		"another type":               one("\x01\x0f\x00\x63\x00\x00\x00\x01\x00\x00\x00\x08"),
	} {
		t.Run(name, func(t *testing.T) {
			s := exifSegment([]byte(block))
			f := write(t, withSegments(plainJPEG(t), s))
			if f.XMP != Added || f.EXIF != None || !bytes.Contains(f.Data, []byte(s)) {
				t.Errorf("XMP %s, EXIF %s", f.XMP, f.EXIF)
			}
		})
	}
	// Not even "Exif" and its zeros are complete.
	f := write(t, withSegments(plainJPEG(t), segment(markerAPP1, exifSignature)))
	if f.EXIF != None {
		t.Error("got EXIF in a segment without a block")
	}
}
