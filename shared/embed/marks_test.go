package embed

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// TestSameTextInAllPlaces verifies that characters that XMP cannot represent are not written elsewhere either, so
// that all places contain the text of the mark.
func TestSameTextInAllPlaces(t *testing.T) {
	m := sample()
	m.Title = "Photo taken with B\ufffdx"
	f := writeSample(t, withSegments(plainJPEG(t), iptcSegment()), m, Options{Composed: true})
	if n := bytes.Count(f.Data, []byte("Photo taken with Bx")); n != 2 {
		t.Errorf("the title is in %d places, want 2", n)
	}
}

// TestNoSpaceForIPTC verifies that a caption of an earlier run is removed if there is no space for the new one.
// Without its mark it would be taken for a person's.
func TestNoSpaceForIPTC(t *testing.T) {
	filler := strings.Repeat("x", 64_000)
	resources := photoshopSignature + "8BIM\x03\xed\x00\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(filler)))) + filler +
		"8BIM\x04\x04\x00\x00\x00\x00\x00\x00"
	m := sample()
	short := writeSample(t, withSegments(plainJPEG(t), segment(markerAPP13, resources)), m, Options{Composed: true})
	if short.IPTC != Filled {
		t.Fatal("the fixture is too long")
	}
	m.Description = strings.Repeat("long ", 380)
	f := writeSample(t, short.Data, m, Options{Composed: true})
	if f.IPTC != None || bytes.Contains(f.Data, []byte("A picture of 48")) || !bytes.Contains(f.Data, []byte(m.Description[:1000])) {
		t.Errorf("IPTC %s, old caption remains: %v", f.IPTC, bytes.Contains(f.Data, []byte("A picture of 48")))
	}
}
