package embed

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// clean cleans a file and checks the invariants: the input is not changed, cleaning again removes nothing, and
// everything except the packet and the filled fields is unchanged.
func clean(t *testing.T, data []byte, all bool) Cleaned {
	t.Helper()
	before := bytes.Clone(data)
	c, err := Clean(data, all, false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("the input was changed")
	}
	if again, err := Clean(c.Data, all, false); err != nil || !bytes.Equal(again.Data, c.Data) || again.Removed != nil || again.Values {
		t.Fatalf("cleaned again: removed %q, %v", again.Removed, err)
	}
	if got, want := rest(c.Data), rest(data); !slices.Equal(got, want) {
		t.Fatalf("more than the packet changed: %d parts, want %d", len(got), len(want))
	}
	return c
}

// personsTitle is XMP with a title of a person, as another program writes it.
const personsTitle = `<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4">` +
	`<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Rex</rdf:li></rdf:Alt></dc:title></rdf:Description>`

// TestCleanKeepsAPersonsTitle removes a model's keywords, description and alternative text next to a person's title.
func TestCleanKeepsAPersonsTitle(t *testing.T) {
	tool(t, "exiftool")
	written := writeSample(t, cameraJPEG(t, xmpSegment(foreign(personsTitle))), described(), Options{Captions: true, KeywordParent: "AI"}).Data
	c := clean(t, written, false)
	if !slices.Equal(c.Removed, []string{"description", "keywords", "alt_text"}) || c.Values || c.Warning != "" {
		t.Errorf("removed %q, values %v, warning %q", c.Removed, c.Values, c.Warning)
	}
	for _, text := range []string{"Hund", "Wiese", "seeing", "aptioned", "(AI)"} {
		if bytes.Contains(c.Data, []byte(text)) {
			t.Errorf("%q remains", text)
		}
	}
	checkTags(t, c.Data, tags{
		"XMP-dc:Title": "Rex", "XMP-xmp:Rating": "4", "XMP-dc:Subject": nil, "IPTC:Keywords": nil, "IFD0:ImageDescription": nil, "XMP-lr:HierarchicalSubject": nil,
		"XMP-iptcCore:AltTextAccessibility": nil, "XMP-photoshop:CaptionWriter": nil, group + "BlurHash": sample().BlurHash,
	})
}

// TestCleanRestoresTheFile verifies that nothing of ours remains with all, and that a file that had only our XMP becomes
// what it was, byte for byte.
func TestCleanRestoresTheFile(t *testing.T) {
	for name, data := range map[string][]byte{
		"a JPEG without metadata": plainJPEG(t), "a PNG without metadata": plainPNG(t, testImage()),
		"a JPEG with XMP": withSegments(plainJPEG(t), jfif, xmpSegment(foreign(personsTitle))),
		"a PNG with XMP":  withChunks(plainPNG(t, testImage()), xmpChunk(foreign(motionPhoto)), ""),
	} {
		for kind, o := range map[string]Options{"captioned": withCaptions, "composed": {Composed: true}, "without texts": {}} {
			m := described()
			if o.Composed {
				m = sample()
			}
			if c := clean(t, writeSample(t, data, m, o).Data, true); !bytes.Equal(c.Data, data) || !c.Values {
				t.Errorf("%s, %s: the file is not as it was", name, kind)
			}
		}
	}
	if c := clean(t, writeSample(t, cameraJPEG(t), described(), withCaptions).Data, true); bytes.Contains(c.Data, []byte("imagebatch")) || bytes.Contains(c.Data, []byte("Hund")) && !bytes.Contains(exifOf(c.Data), []byte("Hund")) {
		t.Error("something of ours remains")
	}
}

// TestCleanRemovesOnlyWhatMatches verifies that composed texts go too, and that a text that a person has edited, in any
// place, stays.
func TestCleanRemovesOnlyWhatMatches(t *testing.T) {
	written := writeSample(t, cameraJPEG(t), sample(), Options{Composed: true}).Data
	edited := bytes.Replace(written, []byte("Landscape in blue &amp; grey"), []byte("Moonscape in blue &amp; grey"), 1)
	c := clean(t, edited, false)
	if !bytes.Contains(c.Data, []byte("Moonscape in blue &amp; grey")) {
		t.Error("the edited title was removed")
	}
	if title, description, keywords := countCaptions(c.Data, sample()); title+description+keywords > 0 || !slices.Equal(c.Removed, []string{"title", "description", "keywords"}) {
		t.Errorf("ours remain: title %d, description %d, keywords %d times; removed %q", title, description, keywords, c.Removed)
	}
	inEXIF := bytes.Replace(written, []byte("A picture of 48 by 32 pixels, <blue>"), []byte("A picture of 48 by 32 pixels, =blue="), 1)
	if c := clean(t, inEXIF, false); !bytes.Contains(exifOf(c.Data), []byte("=blue=")) {
		t.Error("the edited description in EXIF was removed")
	}
}

// TestRemoveCaptions verifies that a model's texts of an earlier run are removed from all their places, with their marks, while
// the rest is written as usual and a person's texts stay.
func TestRemoveCaptions(t *testing.T) {
	for name, data := range map[string][]byte{
		"a JPEG with EXIF and IPTC": cameraJPEG(t, iptcSegment(set(2, 15, "ani"))), "a PNG": plainPNG(t, testImage()),
		"a person's title": cameraJPEG(t, xmpSegment(foreign(personsTitle))),
	} {
		with := writeSample(t, data, described(), Options{Captions: true, KeywordParent: "AI"})
		for kind, o := range map[string]Options{"never": {}, "captions": {Captions: true, KeywordParent: "AI"}, "all": {Captions: true, Composed: true}} {
			o.RemoveCaptions = true
			m := sample() // as the analyzer describes the file without them: with composed texts
			got := writeSample(t, with.Data, m, o)
			o.RemoveCaptions = false
			// Composed texts take the place of the removed ones, so their bytes may be elsewhere.
			if want := writeSample(t, clean(t, with.Data, false).Data, m, o); !o.Composed && !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s, %s: the file is not as if it had been cleaned before", name, kind)
			}
			for _, text := range []string{"Hund", "Wiese", "seeing", "aptioned", "(AI)"} {
				if bytes.Contains(got.Data, []byte(text)) || bytes.Contains(got.Sidecar, []byte(text)) {
					t.Errorf("%s, %s: %q remains", name, kind, text)
				}
			}
			if person := bytes.Contains(got.Data, []byte(">Rex<")); person != (name == "a person's title") {
				t.Errorf("%s, %s: the person's title is in the file: %v", name, kind, person)
			}
			if c := clean(t, got.Data, false); o.Composed == (len(c.Removed) == 0) {
				t.Errorf("%s, %s: %q are still ours", name, kind, c.Removed)
			}
		}
		if stays := writeSample(t, with.Data, sample(), Options{}); !bytes.Contains(stays.Data, []byte("Wiese")) {
			t.Errorf("%s: the texts go without the option", name)
		}
	}

	// A file that must not be changed gets a sidecar, which has no words of a model either.
	signed := withSegments(writeSample(t, plainJPEG(t), described(), withCaptions).Data, segment(markerAPP11, "JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x20jumb\x00\x00\x00\x18jumdc2pa"))
	f, err := Write(signed, sample(), Options{Captions: true, RemoveCaptions: true})
	if err != nil || !bytes.Equal(f.Data, signed) || !slices.Equal(f.Warnings, []Warning{Credentials}) || bytes.Contains(f.Sidecar, []byte("Hund")) {
		t.Errorf("a signed file: %v, warnings %q, sidecar %s", err, f.Warnings, f.Sidecar)
	}
}

// TestCleanLeavesFilesAlone verifies which files stay as they are, and why.
func TestCleanLeavesFilesAlone(t *testing.T) {
	written := writeSample(t, plainJPEG(t), described(), withCaptions).Data
	manifest := segment(markerAPP11, "JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x20jumb\x00\x00\x00\x18jumdc2pa")
	signed := withSegments(written, manifest)
	for name, c := range map[string]struct {
		data []byte
		want Warning
	}{
		"without anything of ours": {cameraJPEG(t, xmpSegment(foreign(personsTitle))), ""},
		"without XMP":              {plainPNG(t, testImage()), ""},
		"signed":                   {signed, Credentials},
		"signed, not ours":         {withSegments(plainJPEG(t), manifest), ""},
		"broken XMP":               {withSegments(plainJPEG(t), xmpSegment("<x:xmpmeta")), PacketMalformed},
		"cut short":                {written[:len(written)/2], OddStructure},
	} {
		if got, err := Clean(c.data, true, false); err != nil || got.Warning != c.want || !bytes.Equal(got.Data, c.data) || got.Removed != nil {
			t.Errorf("%s: warning %q, %v, removed %q; want %q", name, got.Warning, err, got.Removed, c.want)
		}
	}
	if got, err := Clean(signed, true, true); err != nil || bytes.Contains(got.Data, []byte("Hund")) {
		t.Errorf("a signed file was not cleaned: %v", err)
	}
	if _, err := Clean([]byte("GIF89a"), true, false); !errors.Is(err, imagefile.ErrFormat) {
		t.Errorf("a GIF: %v", err)
	}
}
