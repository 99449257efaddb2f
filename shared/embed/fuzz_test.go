package embed

import (
	"bytes"
	"encoding/binary"
	"image"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzWrite writes into files of untrusted clients. It verifies that only the packet and the filled fields
// change, that writing again changes nothing, and that a decoder that could read the file still reads the same
// pixels.
func FuzzWrite(f *testing.F) {
	packet := foreign(motionPhoto)
	multi, _ := multiPicture(f, binaryBigEndian, jfif, icc+xmpSegment(packet))
	for _, seed := range [][]byte{
		plainJPEG(f),
		withSegments(plainJPEG(f), "\xff"+jfif, exif, icc, xmpSegment(packet), extendedXMP()),
		multi,
		withSegments(plainJPEG(f), flirSegments(flir(binary.LittleEndian), 120), xmpSegment("")),
		withSegments(plainJPEG(f), exifSegment(cameraTIFF(binary.LittleEndian)), iptcSegment(iimVersion, set(2, 80, "x")), xmpSegment(foreign(placePacket))),
		withChunks(plainPNG(f, testImage()), chunk("eXIf", string(cameraTIFF(binaryBigEndian)))+itxt, ""),
		plainPNG(f, testImage()),
		withChunks(plainPNG(f, testImage()), chunk("tEXt", "Raw profile type xmp\x00"+rawText("xmp", packet)), ""),
		withSegments(plainJPEG(f), iptcSegment(iimVersion, set(2, 80, "x")), iptcSegment(set(2, 5, "y"))),
		animated(plainPNG(f, testImage())),
		withChunks(deepPNG(f), xmpChunk(packet), "x"),
		withChunks(plainPNG(f, testImage()), itxt, compressedXMPChunk(f, packet)),
		withChunks(plainPNG(f, testImage()), chunk("zTXt", xmpKeyword+"\x00"+deflated(f, packet)), ""),
		withSegments(plainJPEG(f), xmpSegment(processedPacket(f))),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Write(data, sample(), Options{Composed: true}); err != nil {
			return
		}
		first := write(t, data)
		checkPixels(t, data, first.Data)
		if first.XMP == None {
			return
		}
		// The next run may use other options on the same file.
		if next := writeSample(t, first.Data, uncaptioned(), Options{Composed: true, StripPlace: true}); next.XMP != None {
			checkPixels(t, data, next.Data)
		}
		// Then a model answers, and another one later. At last our texts are removed again.
		o := Options{Captions: true, KeywordParent: "AI"}
		captioned := writeSample(t, first.Data, described(), o)
		replaced := writeSample(t, captioned.Data, described2(), o)
		checkPixels(t, data, clean(t, replaced.Data, false).Data)
		if c := clean(t, replaced.Data, true); c.Warning == "" {
			checkPixels(t, data, c.Data)
		}
	})
}

// checkPixels checks that a decoder that could read the file still can, if it is small enough to decode. It
// reports whether the file could be read.
func checkPixels(t testing.TB, before, after []byte) bool {
	t.Helper()
	config, _, err := image.DecodeConfig(bytes.NewReader(before))
	if err != nil || config.Width*config.Height > 1<<18 {
		return false
	}
	want, format, err := image.Decode(bytes.NewReader(before))
	if err != nil {
		return false
	}
	sameImage(t, want, format, after)
	return true
}

// TestWriteAnyJPEG writes into randomly generated headers, with packets, indexes and stray bytes in any order.
func TestWriteAnyJPEG(t *testing.T) {
	file := plainJPEG(t)
	rapid.Check(t, func(rt *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 6).Draw(rt, "segments") {
			b.WriteString(rapid.SampledFrom([]string{
				jfif, exif, exifSegment(cameraTIFF(binary.LittleEndian)), iptcSegment(iimVersion), iptcSegment(set(2, 5, "x")), icc, extendedXMP(), xmpSegment(foreign(motionPhoto)), xmpSegment(foreign("")),
				xmpSegment("not a packet"), segment(markerAPP2, mpfSignature+"no index"), segment(0xfe, "a comment"),
				"\xff\xff", "\xff\x00", "stray", "\xff\xd3",
			}).Draw(rt, "segment"))
		}
		data := withSegments(file, "\xff"+b.String()) // a file starts with two markers; this is a fill byte
		tb := rapidTB{t, rt}
		f := write(tb, data)
		sound := checkPixels(tb, data, f.Data) &&
			!strings.Contains(b.String(), "no index") && !strings.Contains(b.String(), "not a packet")
		if sound && f.XMP == None {
			rt.Fatalf("nothing was written: %s", f.Warnings)
		}
	})
}

// TestWriteAnyPNG does the same with chunks.
func TestWriteAnyPNG(t *testing.T) {
	file := plainPNG(t, testImage())
	chunks := []string{
		text, itxt, xmpChunk(foreign(motionPhoto)), compressedXMPChunk(t, foreign("")),
		chunk("zTXt", xmpKeyword+"\x00"+deflated(t, foreign(motionPhoto))), chunk("prIv", "private"),
	}
	rapid.Check(t, func(rt *rapid.T) {
		some := rapid.SliceOfN(rapid.SampledFrom(chunks), 0, 4)
		early, late := some.Draw(rt, "early"), some.Draw(rt, "late")
		data := append(withChunks(file, strings.Join(early, ""), strings.Join(late, "")), "tail"...)
		tb := rapidTB{t, rt}
		f := write(tb, data)
		samePixels(tb, data, f.Data)
		if f.XMP == None {
			rt.Fatalf("nothing was written: %s", f.Warnings)
		}
	})
}

// rapidTB lets checks that take a testing.TB fail a rapid check.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (b rapidTB) Helper()                           {}
func (b rapidTB) Fatalf(format string, args ...any) { b.rt.Fatalf(format, args...) }
func (b rapidTB) Fatal(args ...any)                 { b.rt.Fatal(args...) }

// processedPacket returns a packet of ours with a model's texts, and a catalog's copy of the keywords.
func processedPacket(t testing.TB) string {
	packet := string(writeSample(t, plainJPEG(t), described(), Options{Captions: true, KeywordParent: "AI"}).Sidecar)
	return strings.Replace(packet, "</rdf:RDF>", `<rdf:Description rdf:about="" xmlns:d="http://www.digikam.org/ns/1.0/"><d:TagsList><rdf:Seq>`+
		`<rdf:li>AI/Hund</rdf:li><rdf:li>People/Anna</rdf:li></rdf:Seq></d:TagsList></rdf:Description></rdf:RDF>`, 1)
}
