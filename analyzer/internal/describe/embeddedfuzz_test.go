package describe

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// FuzzEmbedded passes the same bytes to every reader and verifies the guarantees of the record about texts.
func FuzzEmbedded(f *testing.F) {
	f.Add([]byte(xmpStart + `<rdf:Description dc:title="A" xmp:Rating="3"><dc:subject><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></dc:subject></rdf:Description>` + xmpEnd))
	f.Add(imageResource(0x404, "", append(dataSet(1, 90, "\x1b%G"), dataSet(2, 25, "k")...)))
	f.Add(iccOf("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00"))
	f.Add(append([]byte("icc\x00\x00"), deflated(iccOf("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS\x00\x00\x00\x02\x00\x00\x00\x1c\x00X"))...))
	f.Add(deflated([]byte("a text")))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		read := func() (embedded, string, []string) {
			var w warnings
			h := imagefile.Header{
				Format: "png", XMP: data, IPTC: data, ICC: data, Exif: data,
				Texts: []imagefile.Text{
					{Keyword: "Title", Value: data}, {Keyword: "Author", Value: data, Deflated: true}, {Keyword: "Software", Value: data, UTF8: true},
				},
			}
			b := readEmbedded(h, KeepGPS, &w)
			h.Format = "jpeg"
			profile, name := profileOf(h, &w)
			name = profileName(profile, name, &w)
			colorsOf(h, profile, &w)
			h.Format, h.XMP = "png", nil
			h.Texts = []imagefile.Text{{Keyword: "XML:com.adobe.xmp", Value: data, Deflated: true}}
			readEmbedded(h, DropGPS, &w)
			profile, title := profileOf(h, &w)
			return b, name + profileName(profile, title, &w), w.list
		}
		b, profile, warned := read()
		again, profileAgain, _ := read()
		if !bytes.Equal(before, data) || !reflect.DeepEqual(b, again) || profile != profileAgain {
			t.Fatal("the block was changed, or read differently the second time")
		}
		if len(b.keywords) > maxKeywords || len(strings.Join(b.keywords, "")) > maxKeywordsBytes || len(b.creators) > maxCreators || len(warned) > maxWarnings {
			t.Fatalf("too long: %+v", b)
		}
		for _, s := range append(append([]string{b.title, b.copyright, b.comment, b.exif.Software, b.exif.LensModel, profile}, b.keywords...), b.creators...) {
			if len(s) > maxTextBytes || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\x1b") {
				t.Fatalf("%d bytes of text: %q", len(s), s)
			}
		}
		if len(b.description) > maxDescriptionBytes || b.rating < -1 || b.rating > 5 {
			t.Fatalf("impossible: %+v", b)
		}
	})
}
