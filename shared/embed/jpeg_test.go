package embed

import (
	"bytes"
	"strings"
	"testing"
)

// TestJPEGPlace verifies the position of the packet: after JFIF and Exif, before all other segments.
func TestJPEGPlace(t *testing.T) {
	mpf := segment(markerAPP2, mpfSignature+"no index")
	for _, c := range []struct {
		name         string
		front, after string
	}{
		{"no APP segment", "", ""},
		{"JFIF", jfif, ""},
		{"Exif only", exif, ""},
		{"JFIF and Exif", jfif + exif, ""},
		{"JFIF, Exif, ICC", jfif + exif, icc},
		{"Exif after ICC", jfif + icc + exif, ""},
		{"fill bytes", "\xff\xff\xff" + jfif + "\xff\xff" + exif, "\xff\xff\xff" + icc},
		{"stray bytes", jfif + "stray \xff\x00 bytes" + exif, "more" + icc},
		{"index", jfif + exif, mpf},
		{"Exif after the index", jfif, mpf + exif},
		{"extended XMP alone", jfif, extendedXMP()},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := withSegments(plainJPEG(t), c.front, c.after)
			f := writeSample(t, data, uncaptioned(), Options{Composed: true})
			expect(t, f, Added, "")
			samePixels(t, data, f.Data)
			front := jpegStart + c.front
			if !bytes.HasPrefix(f.Data, []byte(front+"\xff\xe1")) {
				t.Fatalf("no APP1 segment after %d bytes", len(front))
			}
			if !strings.HasPrefix(string(f.Data[len(front)+4:]), xmpSignature+"<?xpacket begin") {
				t.Fatal("the APP1 segment is not XMP")
			}
			if !bytes.HasSuffix(f.Data, data[len(front):]) {
				t.Fatal("the following bytes changed")
			}
		})
	}
}

func TestJPEGMergesInPlace(t *testing.T) {
	old := foreign(motionPhoto)
	video := "\x00\x00\x00\x18ftypmp42" + strings.Repeat("video", 700)
	data := append(withSegments(plainJPEG(t), jfif, exif, icc, xmpSegment(old), extendedXMP()), video...)
	f := writeSample(t, data, uncaptioned(), Options{Composed: true})
	expect(t, f, Merged, "")
	samePixels(t, data, f.Data)
	if !bytes.HasPrefix(f.Data, []byte(jpegStart+jfif+exif+icc+"\xff\xe1")) {
		t.Error("the packet has moved")
	}
	if !bytes.Contains(f.Data, []byte(motionPhoto)) {
		t.Error("the motion photo's description changed")
	}
	if !bytes.Contains(f.Data, []byte(`imagebatch:PHash="c3d1e2f0a5b49687"`)) {
		t.Error("our description is missing")
	}
	if !bytes.Contains(f.Data, []byte(extendedXMP())) {
		t.Error("extended XMP is missing")
	}
	if !bytes.HasSuffix(f.Data, []byte(video)) {
		t.Error("the video after the image changed")
	}
}

// TestJPEGReplacesOurs verifies that new values replace the old ones.
func TestJPEGReplacesOurs(t *testing.T) {
	first := write(t, withSegments(plainJPEG(t), jfif, xmpSegment(foreign(motionPhoto))))
	m := sample()
	m.PHash, m.Colors, m.AnalyzerVersion = "0000000000000001", nil, "2.0.0"
	second, err := Write(first.Data, m, Options{Composed: true})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, second, Merged, "")
	if n := bytes.Count(second.Data, []byte("imagebatch:PHash=")); n != 1 {
		t.Errorf("%d descriptions, want 1", n)
	}
	if bytes.Contains(second.Data, []byte("c3d1e2f0a5b49687")) || bytes.Contains(second.Data, []byte("DominantColors")) {
		t.Error("old values remain")
	}
	back, err := Write(second.Data, sample(), Options{Composed: true})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Data, first.Data) {
		t.Error("writing the first description again does not restore the first file")
	}
}

// TestJPEGPacketLimit fills a packet up to the limit of a segment, and beyond it.
func TestJPEGPacketLimit(t *testing.T) {
	const limit = 65502 // of ISO 16684-3
	note := func(n int) string {
		return `  <rdf:Description rdf:about="" xmlns:a="urn:a" a:note="` + strings.Repeat("n", n) + `"/>`
	}
	empty := len(foreign(note(0)))
	plain := write(t, withSegments(plainJPEG(t), xmpSegment(foreign(note(0)))))
	full := len(plain.Data) - len(plainJPEG(t)) - len(xmpSegment(foreign(note(0))))
	const pad = 4*100 + 1 // as foreign writes it, including the line break before it

	for _, c := range []struct {
		name    string
		size    int // size of the existing packet
		outcome Outcome
		warning Warning
		padded  bool
	}{
		{"fits", limit - full, Merged, "", true},
		{"fits without padding", limit - full + 1, Merged, "", false},
		{"just fits without padding", limit - full + pad, Merged, "", false},
		{"fits when reduced", limit - full + pad + 1, Merged, Reduced, false},
		{"does not fit", limit + pad, None, NoSpace, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := foreign(note(c.size - empty))
			if c.size > limit { // a packet of this size is valid only without padding
				old = strings.Replace(old, "\n"+strings.Repeat(strings.Repeat(" ", 99)+"\n", 4), "", 1)
			}
			data := withSegments(plainJPEG(t), jfif, xmpSegment(old), icc)
			f := write(t, data)
			expect(t, f, c.outcome, c.warning)
			samePixels(t, data, f.Data)
			if !bytes.Contains(f.Data, []byte(note(c.size-empty))) {
				t.Error("the file's own property changed")
			}
			if got := bytes.Contains(f.Data, bytes.Repeat([]byte(" "), 99)); got != c.padded {
				t.Errorf("padding remains: %v, want %v", got, c.padded)
			}
			core := bytes.Contains(f.Data, []byte("imagebatch:OriginalSHA256="))
			all := bytes.Contains(f.Data, []byte("imagebatch:PHash="))
			if core != (c.outcome == Merged) || all != (c.outcome == Merged && c.warning == "") {
				t.Errorf("core properties: %v, all: %v", core, all)
			}
		})
	}
}

// TestJPEGLeftAlone lists files that are returned unchanged.
func TestJPEGLeftAlone(t *testing.T) {
	jumbf := "JP\x00\x01\x00\x00\x00\x01\x00\x00\x10\x00jumb\x00\x00\x00\x26jumd" +
		"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\x00"
	remote := foreign(`<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/"
		dcterms:provenance="https://cai.example.com/manifests/x"/>`)
	whole := withSegments(plainJPEG(t), jfif)
	for _, c := range []struct {
		name    string
		data    []byte
		warning Warning
	}{
		{"content credentials", withSegments(whole, segment(markerAPP11, jumbf)), Credentials},
		{"content credentials elsewhere", withSegments(whole, xmpSegment(remote)), Credentials},
		{"broken packet", withSegments(whole, xmpSegment(foreign("<a:b>"))), PacketMalformed},
		{"half a marker only", []byte(jpegStart + "\xff"), OddStructure},
		{"no scan", []byte(jpegStart + jfif + "\xff\xd9"), OddStructure},
		{"start marker in the header", withSegments(whole, "\xff\xd8"), OddStructure},
		{"segment beyond the end", []byte(jpegStart + "\xff\xe1\xff\xff"), OddStructure},
		{"a segment without length", []byte(jpegStart + jfif + "\xff\xda"), OddStructure},
		{"a table of length one", withSegments(whole, "\xff\xdb\x00\x01"), OddStructure},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, write(t, c.data), None, c.warning) })
	}
}

// TestUnusualPackets verifies that an empty packet is replaced, that a packet in UTF-16 is merged with, and that the
// history of an object in dcterms:provenance is no reason to leave a file unchanged.
func TestUnusualPackets(t *testing.T) {
	var utf16 []byte
	for _, c := range "\ufeff" + foreign(motionPhoto) {
		utf16 = append(utf16, byte(c>>8), byte(c))
	}
	history := foreign(`<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="Gift of Mrs. Smith, 1921"/>`)
	for _, c := range []struct {
		name, packet, stays string
		want                Outcome
	}{
		{"empty", "", "", Added},
		{"blank", "<?xpacket begin='' id='x'?>   <?xpacket end='w'?>", "", Added},
		{"UTF-16", string(utf16), `GCamera:MotionPhotoPresentationTimestampUs="968644"`, Merged},
		{"history", history, `dcterms:provenance="Gift of Mrs. Smith, 1921"`, Merged},
	} {
		for format, data := range map[string][]byte{
			"JPEG": withSegments(plainJPEG(t), jfif, xmpSegment(c.packet), icc), "PNG": withChunks(plainPNG(t, testImage()), xmpChunk(c.packet), ""),
		} {
			t.Run(c.name+" "+format, func(t *testing.T) {
				f := write(t, data)
				expect(t, f, c.want, "")
				if f.Signed || !bytes.Contains(f.Data, []byte(c.stays)) || bytes.Count(f.Data, []byte("imagebatch:PHash=")) != 1 {
					t.Errorf("signed: %v; the packet lost something", f.Signed)
				}
			})
		}
	}
}

// TestJPEGImpossibleLengths verifies that segments of the lengths 0 and 1, which libjpeg accepts, stay as they are.
func TestJPEGImpossibleLengths(t *testing.T) {
	for _, segments := range []string{"\xff\xe1\x00\x01", "\xff\xfe\x00\x00", "\xff\xe0\x00\x01", "\xff\xed\x00\x00\xff\xe2\x00\x01"} {
		data := withSegments(plainJPEG(t), jfif, segments)
		f := write(t, data)
		expect(t, f, Added, "")
		if !bytes.Contains(f.Data, []byte(segments)) {
			t.Errorf("%q is gone", segments)
		}
	}
}

// TestJPEGOtherBoxes verifies that APP11 alone is no reason to leave a file unchanged: JPEG XT and JPEG 360 use
// it too.
func TestJPEGOtherBoxes(t *testing.T) {
	for _, body := range []string{"", "JP", "JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x10RESI c2pa data", "HDR_RI c2pa"} {
		expect(t, write(t, withSegments(plainJPEG(t), jfif, segment(markerAPP11, body))), Added, "")
	}
}
