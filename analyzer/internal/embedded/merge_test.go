package embedded

import (
	"bytes"
	"crypto/md5"
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
	if len(text) > MaxPacket {
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

// TestEditedIPTCWins verifies that IPTC without its digest wins over XMP: it was edited later.
func TestEditedIPTCWins(t *testing.T) {
	sets := slices.Concat(fixture.DataSet(2, 5, "In IPTC"), fixture.DataSet(2, 25, "iptc"), fixture.DataSet(2, 80, "Ida"), fixture.DataSet(2, 116, "© I"))
	sum := md5.Sum(sets)
	for name, c := range map[string]struct {
		digest []byte
		want   string
	}{
		"a digest that matches":        {sum[:], "In XMP"},
		"a digest that does not match": {bytes.Repeat([]byte{1}, 16), "In IPTC"},
		"no digest":                    {nil, "In XMP"},
		"a digest of the wrong length": {[]byte{1}, "In XMP"},
		"a digest that is too long":    {append(bytes.Clone(sum[:]), 0), "In XMP"},
	} {
		view := packetOf([]byte(fixture.XMPStart + `<rdf:Description dc:title="In XMP" dc:subject="xmp" dc:creator="Xenia" dc:rights="© X"/>` + fixture.XMPEnd))
		resources := fixture.ImageResource(0x404, "", sets)
		if c.digest != nil {
			resources = append(fixture.ImageResource(0x425, "", c.digest), resources...)
		}
		view.IPTC = iptc.Parse(resources)
		b := merge(view, KeepGPS, &record.Warnings{})
		got := []string{b.title, b.keywords[0], b.creators[0], b.copyright}
		want := []string{"In XMP", "xmp", "Xenia", "© X"}
		if c.want == "In IPTC" {
			want = []string{"In IPTC", "iptc", "Ida", "© I"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestKeywordsWithLevels verifies that the last levels are keywords, next to those without levels, also if the latter
// are ours, and that only a path of several levels is one.
func TestKeywordsWithLevels(t *testing.T) {
	const lr = ` xmlns:lr="http://ns.adobe.com/lightroom/1.0/"><lr:hierarchicalSubject><rdf:Bag><rdf:li>Places|Dresden</rdf:li><rdf:li>boat</rdf:li></rdf:Bag></lr:hierarchicalSubject>`
	const own = `<dc:subject><rdf:Bag><rdf:li>square</rdf:li><rdf:li>jpeg</rdf:li></rdf:Bag></dc:subject>`
	const marked = `<ib:composed xmlns:ib="https://github.com/imagebatch/imagebatch/ns/1.0/"><rdf:Seq><rdf:li>keywords</rdf:li></rdf:Seq></ib:composed>` +
		`<ib:composedDigests xmlns:ib="https://github.com/imagebatch/imagebatch/ns/1.0/"><rdf:Seq><rdf:li>d8fe3924083dc091</rdf:li></rdf:Seq></ib:composedDigests>`
	for name, c := range map[string]struct {
		properties string
		want       []string
	}{
		"levels only":            {"", []string{"Dresden", "boat"}},
		"next to keywords":       {own, []string{"square", "jpeg", "Dresden", "boat"}},
		"next to ours":           {own + marked, []string{"Dresden", "boat"}},
		"next to the same words": {`<dc:subject><rdf:Bag><rdf:li>Dresden</rdf:li></rdf:Bag></dc:subject>`, []string{"Dresden", "boat"}},
	} {
		b := merge(packetOf([]byte(fixture.XMPStart+"<rdf:Description"+lr+c.properties+"</rdf:Description>"+fixture.XMPEnd)), KeepGPS, &record.Warnings{})
		if paths := record.KeywordPaths(b.paths); !slices.Equal(b.keywords, c.want) || !slices.Equal(paths, []string{"Places|Dresden"}) {
			t.Errorf("%s: %q, paths %q", name, b.keywords, paths)
		}
	}
}

// TestHeadlineAndFurtherPackets verifies that a headline is the title only if no block has one, and that further
// packets come last.
func TestHeadlineAndFurtherPackets(t *testing.T) {
	packet := func(attributes string) *xmp.Packet {
		return xmp.Parse([]byte(fixture.XMPStart + `<rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" ` + attributes + `/>` + fixture.XMPEnd))
	}
	view := packetOf([]byte("<x/>"))
	view.XMP = packet(`photoshop:Headline="Head"`)
	view.Further = []*xmp.Packet{packet(`dc:description="Second" dc:title="SONY DSC"`), packet(`dc:description="Third" xmp:CreatorTool="Tool"`)}
	b := merge(view, KeepGPS, &record.Warnings{})
	if b.title != "Head" || b.description != "Second" || b.exif.Software != "Tool" {
		t.Errorf("title %q, description %q, software %q", b.title, b.description, b.exif.Software)
	}
	view.IPTC = iptc.Parse(fixture.ImageResource(0x404, "", slices.Concat(fixture.DataSet(2, 105, "Other head"), fixture.DataSet(2, 5, "Title"))))
	if b := merge(view, KeepGPS, &record.Warnings{}); b.title != "Title" {
		t.Errorf("title %q", b.title)
	}
	view = imagefile.Metadata{IPTC: iptc.Parse(fixture.ImageResource(0x404, "", fixture.DataSet(2, 105, "Head")))}
	if b := merge(view, KeepGPS, &record.Warnings{}); b.title != "Head" {
		t.Errorf("title %q", b.title)
	}
}
