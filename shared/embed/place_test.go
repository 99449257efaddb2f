package embed

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

const placePacket = `<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:d="http://www.dji.com/drone-dji/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:geo="http://www.w3.org/2003/01/geo/wgs84_pos#" geo:lat="51.0086"
    exif:GPSLatitude="51,0.51N" exif:FNumber='4/1' d:GpsLongitude="+13.87">
   <exif:GPSLongitude>13,52.28E</exif:GPSLongitude>
   <geo:long>13.8714</geo:long>
   <geo:Point><geo:alt>118.25</geo:alt></geo:Point>
   <dc:format>image/jpeg</dc:format>
   <Iptc4xmpExt:LocationShown>
    <rdf:Bag>
     <rdf:li rdf:parseType="Resource">
      <exif:GPSAltitude>118/1</exif:GPSAltitude>
      <Iptc4xmpExt:City>Pillnitz</Iptc4xmpExt:City>
     </rdf:li>
     <rdf:li><rdf:Description exif:GPSLatitude="51,0.52N" Iptc4xmpExt:City="Dresden"/></rdf:li>
    </rdf:Bag>
   </Iptc4xmpExt:LocationShown>
  </rdf:Description>`

// positions are the GPS values in the fixtures.
func positions(order tiff.ByteOrder) []string {
	second := string(order.AppendUint32(order.AppendUint32(nil, 3100), 100))
	return []string{second, "51,0.51N", "13.87", "13,52.28E", "118/1", "51,0.52N", "51.0086", "13.8714", "118.25", "GPS", "Gps"}
}

// TestStripPlace verifies that only positions are removed from EXIF and XMP, and that they stay without the
// option.
func TestStripPlace(t *testing.T) {
	for _, order := range []tiff.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		block := cameraTIFF(order)
		for name, data := range map[string][]byte{
			"jpeg": withSegments(plainJPEG(t), jfif, exifSegment(block), xmpSegment(foreign(placePacket)), icc),
			"png": withChunks(plainPNG(t, testImage()), chunk("eXIf", string(block))+xmpChunk(foreign(placePacket))+
				chunk("tEXt", "exif:GPSLatitude\x0051/1")+chunk("tEXt", "Comment\x00kept"), ""),
		} {
			t.Run(name+" "+order.String(), func(t *testing.T) {
				kept := write(t, data)
				for _, p := range positions(order)[:9] {
					if !bytes.Contains(kept.Data, []byte(p)) {
						t.Errorf("%q is missing although places are kept", p)
					}
				}
				f := writePlaceless(t, data)
				if f.Place != Removed || f.Warnings != nil {
					t.Errorf("place %s, warnings %q", f.Place, f.Warnings)
				}
				for _, p := range positions(order) {
					if bytes.Contains(f.Data, []byte(p)) || bytes.Contains(f.Sidecar, []byte(p)) {
						t.Errorf("%q remains", p)
					}
				}
				for _, k := range []string{"Acme maker note, offset 18", "thumbnail", "Box 1", `exif:FNumber='4/1'`, "Pillnitz", `Iptc4xmpExt:City="Dresden"`, "image/jpeg"} {
					if !bytes.Contains(f.Data, []byte(k)) {
						t.Errorf("%q is missing", k)
					}
				}
				checkStill(t, block, exifOf(f.Data))
			})
		}
	}
}

// writePlaceless writes with the option, both into the file and into the result of a write without it.
func writePlaceless(t *testing.T, data []byte) File {
	t.Helper()
	o := Options{Composed: true, StripPlace: true}
	before := bytes.Clone(data)
	f, err := Write(data, sample(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("the input was changed")
	}
	again, err := Write(f.Data, sample(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Data, f.Data) {
		t.Error("writing twice differs from writing once")
	}
	if _, err := tiff.Parse(exifOf(f.Data)); checkPixels(t, data, f.Data) && err == nil {
		late := writeSample(t, write(t, data).Data, sample(), o)
		if late.Place != f.Place {
			t.Errorf("after a run that kept it, place is %s, want %s", late.Place, f.Place)
		}
	}
	return f
}

// checkStill checks that the maker note, the thumbnail and the values of the first directory have not moved.
func checkStill(t *testing.T, before, after []byte) {
	t.Helper()
	for _, s := range []string{"Acme maker note, offset 18", "\xff\xd8thumbnail\xff\xd9", "Acme Cameras"} {
		if at := bytes.Index(before, []byte(s)); bytes.Index(after, []byte(s)) != at {
			t.Errorf("%q has moved", s)
		}
	}
	block, err := tiff.Parse(after)
	if err != nil || !block.Sound() {
		t.Fatal("the first directory is broken")
	}
	if e, ok := block.Find(block.First, 0x010f); !ok || !bytes.HasPrefix(after[block.Pointer(e):], []byte("Acme Cameras")) {
		t.Error("Make is not found")
	}
	if _, ok := block.Find(block.First, tiff.TagGPS); ok {
		t.Error("a pointer to GPS data remains")
	}
	if old, err := tiff.Parse(before); err == nil {
		e, _ := old.Find(old.First, tiff.TagGPS)
		if gps, ok := old.Directory(old.Pointer(e)); ok && old.Whole(gps) && gps.Start > old.First.Span().End &&
			len(bytes.Trim(after[gps.Start+2:gps.Span().End-4], "\x00")) > 0 {
			t.Error("entries of the GPS directory remain")
		}
	}
	next, ok := block.Directory(block.Order.Uint32(after[block.First.Span().End-4:]))
	if !ok || next.Count != 6 {
		t.Error("the second directory is not found")
	}
}

// TestPlaceLeftWarning verifies that a removal that may be incomplete causes a warning.
func TestPlaceLeftWarning(t *testing.T) {
	camera := exifSegment(cameraTIFF(binary.BigEndian))
	jumbf := segment(markerAPP11, "JP\x00\x01\x00\x00\x00\x01\x00\x00\x10\x00jumb\x00\x00\x00\x26jumdc2pa")
	extension := func(text string) string { return segment(markerAPP1, extensionSignature+strings.Repeat("0", 40)+text) }
	extended := extension("<rdf:Description exif:GPSLatitude='1'/>")
	georss := extension("<rdf:Description xmlns:g='http://www.georss.org/georss' g:point='51.0 13.9'/>")
	for name, c := range map[string]struct {
		data    []byte
		removed Outcome
	}{
		"a broken packet":          {withSegments(plainJPEG(t), camera, xmpSegment("not a packet")), Removed},
		"extended XMP":             {withSegments(plainJPEG(t), camera, extended), Removed},
		"extended XMP, GeoRSS":     {withSegments(plainJPEG(t), camera, georss), Removed},
		"two Exif segments":        {withSegments(plainJPEG(t), camera, camera), Removed},
		"content credentials":      {withSegments(plainJPEG(t), camera, jumbf), None},
		"an unknown structure":     {[]byte(jpegStart + camera), None},
		"raw profile":              {withChunks(plainPNG(t, testImage()), chunk("zTXt", "Raw profile type exif\x00\x00x"), ""), None},
		"a block of no TIFF":       {withSegments(plainJPEG(t), exifSegment([]byte("MM\x00*\x00\x00\x00\x08\x00\x01\x88\x25"))), None},
		"a block with a packet":    {withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian, entry{tiff.TagXMP, 1, 12, "<exif:GPSX/>"}))), Removed},
		"a second image":           {append(withSegments(plainJPEG(t), camera), plainJPEG(t)...), Removed},
		"resources with EXIF":      {withSegments(plainJPEG(t), camera, segment(markerAPP13, photoshopSignature+"8BIM\x04\x22\x00\x00\x00\x00\x00\x02II")), Removed},
		"a second block in a PNG":  {withChunks(plainPNG(t, testImage()), strings.Repeat(chunk("eXIf", string(cameraTIFF(binary.BigEndian))), 2), ""), Removed},
		"a second packet in a PNG": {withChunks(plainPNG(t, testImage()), xmpChunk(foreign(""))+xmpChunk(foreign(placePacket)), ""), None},
		"bytes after a PNG":        {append(plainPNG(t, testImage()), "a film"...), None},
	} {
		t.Run(name, func(t *testing.T) {
			f := writePlaceless(t, c.data)
			if f.Place != c.removed || !slices.Contains(f.Warnings, PlaceLeft) {
				t.Errorf("place %s, warnings %q", f.Place, f.Warnings)
			}
			if c.removed == Removed && bytes.Equal(f.Data, c.data) {
				t.Error("nothing was removed")
			}
			if calm := write(t, c.data); slices.Contains(calm.Warnings, PlaceLeft) {
				t.Error("a warning although places are kept")
			}
		})
	}
	none := withSegments(plainJPEG(t), exif)
	if f := writePlaceless(t, none); f.Place != None || f.Warnings != nil {
		t.Errorf("without GPS data: place %s, warnings %q", f.Place, f.Warnings)
	}
}

// flir returns the data of a thermal camera with a record of another kind and a GPS record.
func flir(order tiff.ByteOrder) string {
	const directory, other, gps = 64, 64 + 2*32, 64 + 2*32 + 8
	position := "\x01\x00\x00\x002.2\x00N\x00E\x00" + string(order.AppendUint64(nil, math.Float64bits(51.0086))) + "a record"
	u32 := func(v int) string { return string(order.AppendUint32(nil, uint32(v))) }
	u16 := func(v int) string { return string(order.AppendUint16(nil, uint16(v))) }
	entry := func(kind, at, length int) string {
		return u16(kind) + u16(0) + u32(100) + u32(0) + u32(at) + u32(length) + strings.Repeat("\x00", 12)
	}
	return "FFF\x00" + "a thermal camera" + u32(101) + u32(directory) + u32(2) + strings.Repeat("\x00", 32) +
		entry(1, other, 8) + entry(0x2b, gps, len(position)) + "infrared" + position
}

// flirSegments splits the data of a thermal camera into segments.
func flirSegments(data string, size int) string {
	parts := slices.Collect(slices.Chunk([]byte(data), size))
	header := ""
	for i, part := range parts {
		header += segment(markerAPP1, "FLIR\x00\x01"+string([]byte{byte(i), byte(len(parts) - 1)})+string(part))
	}
	return header
}

// TestStripPlaceOfThermalCameras verifies that the position of a FLIR camera is overwritten and all else is kept, and that
// data that is not understood causes a warning.
func TestStripPlaceOfThermalCameras(t *testing.T) {
	for _, order := range []tiff.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		data := flir(order)
		for _, size := range []int{len(data), 100, len(data) - 20} {
			file := withSegments(plainJPEG(t), jfif, flirSegments(data, size), icc)
			f := writePlaceless(t, file)
			if f.Place != Removed || f.Warnings != nil || len(f.Data) <= len(file) {
				t.Errorf("place %s, warnings %q", f.Place, f.Warnings)
			}
			for _, gone := range []string{"2.2\x00N", "a record"[4:], string(order.AppendUint64(nil, math.Float64bits(51.0086)))[:4]} {
				if bytes.Contains(f.Data, []byte(gone)) {
					t.Errorf("%q remains", gone)
				}
			}
			if calm := write(t, file); calm.Place != None || !bytes.Contains(calm.Data, []byte(flirSegments(data, size))) {
				t.Error("the position was removed although places are kept")
			}
			if l, err := imagefile.LayoutOf(f.Data); err != nil {
				t.Error(err)
			} else if places, ok := l.FLIRPositions(f.Data); !ok || len(places) == 0 {
				t.Error("the structure of the data changed")
			}
		}
	}
	good := flir(binary.BigEndian)
	order := binary.BigEndian
	changed := func(at int, with string) string { return good[:at] + with + good[at+len(with):] }
	for name, segments := range map[string]string{
		"no header":            flirSegments("FFX"+good[3:], 1000),
		"cut off":              flirSegments(good[:80], 1000),
		"another version":      flirSegments(changed(20, string(order.AppendUint32(nil, 99))), 1000),
		"records outside":      flirSegments(changed(64+32+12, string(order.AppendUint32(nil, 1<<31))), 1000),
		"a record in the list": flirSegments(changed(64+32+12, string(order.AppendUint32(nil, 70))), 1000),
		"too many records":     flirSegments(changed(28, string(order.AppendUint32(nil, 1<<31))), 1000),
		"a missing segment":    strings.Replace(flirSegments(good, 100), flirSegments(good, 100)[:112], "", 1),
		"another order":        flirSegments(good, 100)[112:] + flirSegments(good, 100)[:112],
		"an empty segment":     segment(markerAPP1, "FLIR\x00"),
	} {
		f := writePlaceless(t, withSegments(plainJPEG(t), segments))
		if f.Place != None || !slices.Equal(f.Warnings, []Warning{PlaceLeft}) {
			t.Errorf("%s: place %s, warnings %q", name, f.Place, f.Warnings)
		}
	}
}

// TestStripPlaceWithoutSpace verifies that positions are removed even if there is no space for our properties.
func TestStripPlaceWithoutSpace(t *testing.T) {
	pad := maxJPEGPacket - len(foreign(placePacket+"<rdf:Description a='"+"'/>")) + 2
	full := strings.Replace(foreign(placePacket+"<rdf:Description a='"+strings.Repeat("x", pad)+"'/>"), strings.Repeat(strings.Repeat(" ", 99)+"\n", 4), "", 1)
	full = strings.Replace(full, "'/>", strings.Repeat("x", 400)+"'/>", 1)
	data := withSegments(plainJPEG(t), iptcSegment(), xmpSegment(full), icc)
	f := writePlaceless(t, data)
	if f.XMP != None || f.Place != Removed || !slices.Equal(f.Warnings, []Warning{NoSpace}) {
		t.Errorf("XMP %s, place %s, warnings %q", f.XMP, f.Place, f.Warnings)
	}
	for _, p := range positions(binary.BigEndian)[1:] {
		if bytes.Contains(f.Data, []byte(p)) {
			t.Errorf("%q remains", p)
		}
	}
	if len(f.Data) < 65_000 || !bytes.Contains(f.Data, []byte(`exif:FNumber='4/1'`)) {
		t.Error("more than the positions was removed")
	}
	jumbf := segment(markerAPP11, "JP\x00\x01\x00\x00\x00\x01\x00\x00\x10\x00jumb\x00\x00\x00\x26jumdc2pa")
	data = withSegments(plainJPEG(t), xmpSegment(full), jumbf)
	if signed := writeSample(t, data, sample(), Options{Composed: true, EmbedSigned: true}); !signed.Signed || slices.Contains(signed.Warnings, Broken) {
		t.Error("an unchanged file is not reported as signed")
	}
}

// TestStripPlaceAfterAPrefix covers PNGs in which some writers keep the prefix that EXIF data has in JPEG.
func TestStripPlaceAfterAPrefix(t *testing.T) {
	block := cameraTIFF(binary.LittleEndian)
	f := writePlaceless(t, withChunks(plainPNG(t, testImage()), chunk("eXIf", "Exif\x00\x00"+string(block)), ""))
	if f.Place != Removed || f.Warnings != nil || !bytes.Contains(f.Data, []byte("eXIfExif\x00\x00II*")) {
		t.Errorf("place %s, warnings %q", f.Place, f.Warnings)
	}
	checkStill(t, block, exifOf(f.Data))
}

// TestStripPlaceEverywhere verifies that GPS data is removed from the EXIF directory and from the thumbnail's,
// where readers look too, and from a directory that ends with the block.
func TestStripPlaceEverywhere(t *testing.T) {
	var b []byte
	be := binary.BigEndian
	put := func(tag, kind uint16, value int) {
		b = be.AppendUint32(be.AppendUint32(be.AppendUint16(be.AppendUint16(b, tag), kind), 1), uint32(value))
	}
	const exifAt, thumbnailAt, placesAt, each = 50, 68, 86, 22
	place := func(i int) int { return placesAt + each*i + 8 }
	b = append(b, "MM\x00*\x00\x00\x00\x08\x00\x03"...)
	put(tiff.TagExif, 4, exifAt)
	put(tiff.TagGPS, 4, place(0))
	put(tiff.TagGPS, 4, place(1))
	b = append(b, 0, 0, 0, thumbnailAt, 0, 1)
	put(tiff.TagGPS, 4, place(2))
	b = append(b, 0, 0, 0, 0, 0, 1)
	put(tiff.TagGPS, 4, place(3))
	b = append(b, 0, 0, 0, 8) // points to the first directory again
	for i := range 4 {
		b = append(b, "ALTITUDE\x00\x01"...)
		put(6, 5, placesAt+each*i)
	}
	f := writePlaceless(t, withSegments(plainJPEG(t), exifSegment(b)))
	after := exifOf(f.Data)
	if f.Place != Removed || f.Warnings != nil || bytes.Contains(after, []byte("ALTITUDE")) || bytes.Contains(after, []byte{0x88, 0x25}) {
		t.Errorf("place %s, warnings %q, remaining\n%q", f.Place, f.Warnings, after)
	}
}

// TestBrokenPlace verifies that GPS directories in impossible positions do no damage.
func TestBrokenPlace(t *testing.T) {
	sound := cameraTIFF(binary.BigEndian)
	block, _ := tiff.Parse(sound)
	e, _ := block.Find(block.First, tiff.TagGPS)
	for name, offset := range map[string]int{
		"in the header": 2, "in itself": tiffHeader, "beyond the end": len(sound) - 1, "far away": 1 << 30,
	} {
		t.Run(name, func(t *testing.T) {
			broken := bytes.Clone(sound)
			binary.BigEndian.PutUint32(broken[e.At+8:], uint32(offset))
			f := writePlaceless(t, withSegments(plainJPEG(t), exifSegment(broken)))
			checkStill(t, broken, exifOf(f.Data))
		})
	}
}

// TestSigned verifies that a file with Content Credentials is returned bit for bit, with a packet for a
// sidecar, unless the operator has configured otherwise.
func TestSigned(t *testing.T) {
	jumbf := segment(markerAPP11, "JP\x00\x01\x00\x00\x00\x01\x00\x00\x10\x00jumb\x00\x00\x00\x26jumdc2pa")
	old := foreign(motionPhoto)
	remote := foreign(`<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="https://example.com/x"/>`)
	for name, data := range map[string][]byte{
		"JPEG":      withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian)), xmpSegment(old), jumbf),
		"PNG":       withChunks(plainPNG(t, testImage()), chunk("caBX", "jumbf")+xmpChunk(old), ""),
		"elsewhere": withSegments(plainJPEG(t), xmpSegment(remote)),
	} {
		t.Run(name, func(t *testing.T) {
			f := write(t, data)
			expect(t, f, None, Credentials)
			if !f.Signed || !bytes.Equal(f.Data, data) {
				t.Error("the file was changed")
			}
			for _, s := range []string{"imagebatch:PHash", "<dc:title>", "imagebatch:composed"} {
				if !bytes.Contains(f.Sidecar, []byte(s)) {
					t.Errorf("%s is not in the sidecar", s)
				}
			}
			if name != "elsewhere" && !bytes.Contains(f.Sidecar, []byte(motionPhoto)) {
				t.Error("the file's own properties are not in the sidecar")
			}
			embedded := writeSample(t, data, sample(), Options{Composed: true, EmbedSigned: true})
			expect(t, embedded, Merged, Broken)
			if !bytes.Contains(embedded.Data, embedded.Sidecar) || !bytes.Equal(embedded.Sidecar, f.Sidecar) {
				t.Error("not the same packet")
			}
		})
	}
}
