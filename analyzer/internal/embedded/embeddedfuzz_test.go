package embedded

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

// FuzzEmbedded passes the same bytes to every reader and verifies the guarantees of the record about texts.
func FuzzEmbedded(f *testing.F) {
	f.Add([]byte(fixture.XMPStart + `<rdf:Description dc:title="A" xmp:Rating="3"><dc:subject><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></dc:subject></rdf:Description>` + fixture.XMPEnd))
	f.Add(fixture.ImageResource(0x404, "", append(fixture.DataSet(1, 90, "\x1b%G"), fixture.DataSet(2, 25, "k")...)))
	f.Add(fixture.Profile("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00"))
	f.Add(append([]byte("icc\x00\x00"), fixture.Deflated(fixture.Profile("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS\x00\x00\x00\x02\x00\x00\x00\x1c\x00X"))...))
	f.Add(fixture.Deflated([]byte("a text")))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		read := func() (block, string, []string) {
			var w record.Warnings
			view := imagefile.Metadata{
				HasEXIF: true, XMP: xmp.Parse(data), Packet: imagefile.Packet{Text: data}, IPTC: iptc.Parse(data), ICC: imagefile.Profile{Data: data},
				Texts: []imagefile.Text{
					{Keyword: "Title", Value: data}, {Keyword: "Author", Value: data, Deflated: true}, {Keyword: "Software", Value: data, UTF8: true},
				},
			}
			view.EXIF, view.EXIFError = tiff.Parse(data)
			return merge(view, KeepGPS, &w), profileName(view.ICC, &w), w.List
		}
		b, profile, warned := read()
		again, profileAgain, _ := read()
		if !bytes.Equal(before, data) || !reflect.DeepEqual(b, again) || profile != profileAgain {
			t.Fatal("the block was changed, or read differently the second time")
		}
		if len(b.keywords) > 64 || len(strings.Join(b.keywords, "")) > 8192 || len(b.creators) > 8 || len(warned) > 20 {
			t.Fatalf("too long: %+v", b)
		}
		for _, s := range append(append([]string{b.title, b.copyright, b.comment, b.exif.Software, b.exif.LensModel, profile}, b.keywords...), b.creators...) {
			if len(s) > record.MaxText || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\x1b") {
				t.Fatalf("%d bytes of text: %q", len(s), s)
			}
		}
		if len(b.description) > record.MaxDescription || b.rating < -1 || b.rating > 5 {
			t.Fatalf("impossible: %+v", b)
		}
	})
}
