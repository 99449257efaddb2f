package embedded

import (
	"fmt"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

// packetOf returns the view of a file with only a packet.
func packetOf(text []byte) imagefile.Metadata {
	if len(text) > maxPacket {
		return imagefile.Metadata{Packet: imagefile.Packet{Text: text, TooLarge: true}}
	}
	return imagefile.Metadata{XMP: xmp.Parse(text), Packet: imagefile.Packet{Text: text}}
}

// TestOurCaptionIsNotAPersons submits a processed image again, which contains the composed caption with its
// marks. It verifies that the caption is composed again, and that a text that a person changed is kept.
func TestOurCaptionIsNotAPersons(t *testing.T) {
	const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
	<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:ib="https://github.com/imagebatch/imagebatch/ns/1.0/">
	<dc:title><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:title>
	<dc:subject><rdf:Bag><rdf:li>square</rdf:li><rdf:li>%s</rdf:li></rdf:Bag></dc:subject>
	<ib:composed><rdf:Seq><rdf:li>title</rdf:li><rdf:li>keywords</rdf:li></rdf:Seq></ib:composed>
	<ib:composedDigests><rdf:Seq><rdf:li>%s</rdf:li><rdf:li>%s</rdf:li></rdf:Seq></ib:composedDigests>
	</rdf:Description></rdf:RDF></x:xmpmeta>`
	// SHA-256 of "JPEG image, 8×8\x00", and of "jpeg\x00square\x00".
	const title, keywords = "3ccf4820df1aee10", "d8fe3924083dc091"
	for _, c := range []struct {
		title, keyword  string
		titleIs, wordIs bool // whether the title and the keyword are a person's
	}{
		{"JPEG image, 8×8", "jpeg", false, false},
		{"JPEG image, 8×8!", "jpeg", true, false},
		{"JPEG image, 8×8", "lake", false, true},
	} {
		text := fmt.Appendf(nil, packet, c.title, c.keyword, title, keywords)
		b := merge(packetOf(text), KeepGPS, &record.Warnings{})
		if (b.title != "") != c.titleIs || (b.keywords != nil) != c.wordIs {
			t.Errorf("%q and %q: title %q, keywords %q", c.title, c.keyword, b.title, b.keywords)
		}
	}
}

func TestShape(t *testing.T) {
	for _, c := range []struct {
		width, height int
		want          string
	}{{4000, 3000, "landscape"}, {3000, 4000, "portrait"}, {1000, 1000, "square"}, {1000, 990, "square"}, {1000, 989, "landscape"}, {1, 2, "portrait"}} {
		if got := shape(c.width, c.height); got != c.want {
			t.Errorf("%d×%d is %s, want %s", c.width, c.height, got, c.want)
		}
	}
}

// TestJPEGQualityMatchesExiftool compares with exiftool, which estimates as ImageMagick does, for images of
// many programs and cameras. If tables of the scale were rounded differently, these two estimate up to 11 less,
// so only exact tables are compared.
func TestJPEGQualityMatchesExiftool(t *testing.T) {
	files := fixture.CameraFiles(t)
	judged := fixture.Judge(t, files, "-G1", "-JPEGQualityEstimate")
	// These define a third table that no component uses, and exiftool counts it.
	unused := map[string]bool{
		"metadata-extractor/nikonMakernoteType2b.jpg": true, "metadata-extractor/withUncompressedYCbCrThumbnail.jpg": true,
	}
	compared := 0
	for name, data := range files {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil {
			continue
		}
		got, exact := jpegQuality(h), true
		for i, v := range h.Luma {
			exact = exact && got > 0 && int(v) == atQuality(annexK[0][i], got)
		}
		want, ok := judged[name]["File:JPEGQualityEstimate"].(float64)
		if !ok || !exact || unused[name] {
			continue
		}
		compared++
		if max(got-int(want), int(want)-got) > 1 {
			t.Errorf("%s: %d, exiftool reports %v", name, got, want)
		}
	}
	if compared < 20 {
		t.Errorf("only %d images were compared", compared)
	}
}

// TestStockTextsAreNotAPersons verifies that the text of a camera is no title and no description in any block,
// and that the text of a person in a later block counts instead.
func TestStockTextsAreNotAPersons(t *testing.T) {
	const stock = `<rdf:Description dc:title="SONY DSC" dc:description="Acme"/>`
	view := packetOf([]byte(fixture.XMPStart + stock + fixture.XMPEnd))
	view.IPTC = iptc.Parse(fixture.ImageResource(0x404, "", slices.Concat(fixture.DataSet(2, 5, "cof"), fixture.DataSet(2, 120, `DCIM\100MEDIA\DJI_0001.JPG`))))
	view.Texts = []imagefile.Text{{Keyword: "Title", Value: []byte("Created with GIMP")}, {Keyword: "Description", Value: []byte("SAMSUNG")}}
	view.HasEXIF = true
	exif := func(description string) {
		view.EXIF, view.EXIFError = tiff.Parse(fixture.TIFF(
			fixture.Tag(dirImage, 0x010f, tiff.ASCII, []byte("Acme\x00")),
			fixture.Tag(dirImage, tiff.TagImageDescription, tiff.ASCII, []byte(description+"\x00")),
		))
	}
	exif("ACME")
	if b := merge(view, KeepGPS, &record.Warnings{}); b.title != "" || b.description != "" {
		t.Errorf("title %q, description %q", b.title, b.description)
	}
	exif("A boat")
	if b := merge(view, KeepGPS, &record.Warnings{}); b.description != "A boat" {
		t.Errorf("description %q", b.description)
	}
}
