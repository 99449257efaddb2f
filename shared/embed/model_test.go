package embed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// described is an analysis whose texts a model wrote.
func described() pipeline.Metadata {
	m := sample()
	m.Composed = nil
	m.Title, m.Description, m.Keywords, m.AltText = "Zwei Hunde", "Zwei Hunde laufen über eine Wiese.", []string{"Hund", "Wiese"}, "Ein brauner & ein weißer Hund auf einer Wiese."
	m.Captioned = []string{"title", "description", "keywords", "alt_text"}
	m.Caption = &pipeline.Caption{Model: "seeing:7b", Language: "de-CH", Title: m.Title, Description: m.Description, Keywords: m.Keywords, AltText: m.AltText}
	return m
}

// described2 is an analysis with the answer of another model.
func described2() pipeline.Metadata {
	m := described()
	m.Title, m.Description, m.Keywords, m.AltText = "Dogs", "Dogs on a lawn.", []string{"dog", "lawn"}, "Dogs run."
	m.Caption = &pipeline.Caption{Model: "better", Language: "en"}
	return m
}

// withCaptions are the default options.
var withCaptions = Options{Captions: true}

// cameraJPEG returns a JPEG with EXIF and IPTC but without texts.
func cameraJPEG(t testing.TB, more ...string) []byte {
	return withSegments(plainJPEG(t), append([]string{jfif, exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion)}, more...)...)
}

// checkTags compares some of the tags of a file with those that it must have. A tag with the value nil must be missing.
func checkTags(t *testing.T, data []byte, want tags) {
	t.Helper()
	name := "a.jpg"
	if bytes.HasPrefix(data, []byte(pngStart)) {
		name = "a.png"
	}
	got := tagsOf(t, name, data)
	for tag, value := range want {
		if fmt.Sprint(got[tag]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", tag, got[tag], value)
		}
	}
	if w := got["ExifTool:Warning"]; w != nil {
		t.Errorf("exiftool warns: %v", w)
	}
}

// modelTags are the tags of described in a JPEG.
func modelTags() tags {
	m := described()
	return tags{
		"XMP-dc:Title": m.Title, "XMP-dc:Title-de-CH": m.Title, "IPTC:ObjectName": m.Title,
		"XMP-dc:Description": m.Description, "XMP-dc:Description-de-CH": m.Description, "IFD0:ImageDescription": m.Description, "IPTC:Caption-Abstract": m.Description,
		"XMP-dc:Subject": m.Keywords, "IPTC:Keywords": m.Keywords, "XMP-lr:HierarchicalSubject": []string{"AI|Hund", "AI|Wiese"},
		"XMP-iptcCore:AltTextAccessibility": m.AltText, "XMP-iptcCore:AltTextAccessibility-de-CH": m.AltText,
		"XMP-photoshop:CaptionWriter": "seeing:7b (AI), Imagebatch",
		group + "Captioned":           []string{"title", "description", "keywords", "alt_text"}, group + "CaptionModel": "seeing:7b",
		group + "Composed": nil, "XMP-iptcExt:DigitalSourceType": nil, "XMP-iptcExt:AISystemUsed": nil,
	}
}

// TestModelTextsInOtherReaders verifies that exiftool and exiv2 read a model's texts from every place, with their marks,
// and that nothing states that the image itself was made by AI.
func TestModelTextsInOtherReaders(t *testing.T) {
	tool(t, "exiftool")
	o := Options{Captions: true, KeywordParent: "AI"}
	f := writeSample(t, cameraJPEG(t), described(), o)
	if f.EXIF != Filled || f.IPTC != Filled {
		t.Errorf("EXIF %s, IPTC %s", f.EXIF, f.IPTC)
	}
	checkTags(t, f.Data, modelTags())
	if bytes.Contains(f.Data, []byte("Iptc4xmpExt")) {
		t.Error("properties of the IPTC extension were written")
	}
	png := writeSample(t, plainPNG(t, testImage()), described(), o)
	want := modelTags()
	for tag := range want {
		if !strings.HasPrefix(tag, "XMP-") {
			delete(want, tag)
		}
	}
	checkTags(t, png.Data, want)

	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := os.WriteFile(path, f.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool(t, "exiv2"), "-PXEIkt", "pr", path).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("Warning")) || bytes.Contains(out, []byte("Error")) {
		t.Errorf("exiv2: %v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{
		`Xmp.dc.title lang="x-default" Zwei Hunde, lang="de-CH" Zwei Hunde`, "Exif.Image.ImageDescription " + described().Description,
		"Xmp.dc.subject Hund, Wiese", "Xmp.lr.hierarchicalSubject AI|Hund, AI|Wiese", "Iptc.Application2.Keywords Wiese", "Xmp.imagebatch.CaptionModel seeing:7b",
		"Xmp.photoshop.CaptionWriter seeing:7b (AI), Imagebatch", `lang="x-default" ` + described().AltText,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("exiv2 does not show %q:\n%s", want, out)
		}
	}
}

// TestModelTextsKeepThePicture verifies that our own output has the hash of the original, so that a picture is
// paid for once.
func TestModelTextsKeepThePicture(t *testing.T) {
	for name, data := range map[string][]byte{
		"jpeg": cameraJPEG(t, icc), "png": withChunks(plainPNG(t, testImage()), chunk("eXIf", string(cameraTIFF(binary.BigEndian))), ""),
	} {
		before, err := imagefile.PictureHash(data)
		if err != nil {
			t.Fatal(err)
		}
		written := writeSample(t, data, described(), withCaptions)
		if after, err := imagefile.PictureHash(written.Data); err != nil || after != before {
			t.Errorf("%s: the hash is %s, %v; was %s", name, after, err, before)
		}
	}
}

// TestPersonsTextsBeforeModels verifies that a field that a person states in any place, or in any language, gets no
// words of a model anywhere, while the others do.
func TestPersonsTextsBeforeModels(t *testing.T) {
	property := func(text string) string {
		return xmpSegment(foreign(`<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" ` +
			`xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">` + text + `</rdf:Description>`))
	}
	m := described()
	texts := map[string]string{"title": ">" + m.Title + "<", "description": m.Description, "keywords": ">" + m.Keywords[1] + "<", "alt_text": "Ein brauner &amp;", "writer": "(AI)"}
	for name, c := range map[string]struct {
		file  []byte
		stays string
		not   []string
	}{
		"title in another language":    {cameraJPEG(t, property(`<dc:title><rdf:Alt><rdf:li xml:lang="fr">Chiens</rdf:li></rdf:Alt></dc:title>`)), "Chiens", []string{"title"}},
		"title in IPTC":                {withSegments(plainJPEG(t), iptcSegment(iimVersion, set(2, 5, "Rex"))), "Rex", []string{"title"}},
		"one keyword":                  {cameraJPEG(t, property(`<dc:subject><rdf:Bag><rdf:li>Rex</rdf:li></rdf:Bag></dc:subject>`)), "Rex", []string{"keywords"}},
		"alternative text":             {cameraJPEG(t, property(`<c:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default">Rex!</rdf:li></rdf:Alt></c:AltTextAccessibility>`)), "Rex!", []string{"alt_text"}},
		"description":                  {cameraJPEG(t, property(`<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Rex.</rdf:li></rdf:Alt></dc:description>`)), "Rex.", []string{"description", "writer"}},
		"writer":                       {cameraJPEG(t, property(`<photoshop:CaptionWriter>Erika</photoshop:CaptionWriter>`)), "Erika", []string{"writer"}},
		"writer in IPTC":               {withSegments(plainJPEG(t), iptcSegment(iimVersion, set(2, 122, "Erika"))), "Erika", []string{"writer"}},
		"an empty alternative text":    {cameraJPEG(t, property(`<c:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default"> </rdf:li></rdf:Alt></c:AltTextAccessibility>`)), "", nil},
		"an empty writer":              {cameraJPEG(t, property(`<photoshop:CaptionWriter></photoshop:CaptionWriter>`)), "", nil},
		"an empty title and a comment": {cameraJPEG(t, property(`<dc:title><rdf:Alt><rdf:li xml:lang="x-default"/></rdf:Alt></dc:title>`)), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := writeSample(t, c.file, m, withCaptions)
			if !bytes.Contains(f.Data, []byte(c.stays)) {
				t.Errorf("%q is lost", c.stays)
			}
			for field, text := range texts {
				if has := bytes.Contains(f.Data, []byte(text)); has == slices.Contains(c.not, field) {
					t.Errorf("the %s of the model was written: %v", field, has)
				}
			}
			if n := bytes.Count(f.Data, []byte("AltTextAccessibility>")); n != 2 {
				t.Errorf("%d tags of AltTextAccessibility, want 2", n)
			}
		})
	}
}

// TestStockTextsBeforeModels verifies that a model's description replaces the stock text of a camera, and that the
// record names it.
func TestStockTextsBeforeModels(t *testing.T) {
	file := withSegments(plainJPEG(t), exifSegment(cameraTIFF(binary.BigEndian, ascii(0x010e, "OLYMPUS DIGITAL CAMERA"))))
	f := writeSample(t, file, described(), withCaptions)
	if bytes.Contains(exifOf(f.Data), []byte("OLYMPUS DIGITAL CAMERA\x00")) && f.EXIF != Filled || !slices.Equal(f.Replaced, []string{"OLYMPUS DIGITAL CAMERA"}) {
		t.Errorf("EXIF %s, replaced %q", f.EXIF, f.Replaced)
	}
}

// TestEarlierWordsStay verifies that a model's words stay, with their mark, their model and their language, whatever
// happens except a new answer, and that a new answer leaves none of the old words.
func TestEarlierWordsStay(t *testing.T) {
	written := writeSample(t, cameraJPEG(t), described(), withCaptions).Data
	outage := described() // as the analyzer reads the file
	outage.Caption = &pipeline.Caption{Model: "seeing:7b", Language: "de-CH"}
	for name, c := range map[string]struct {
		m pipeline.Metadata
		o Options
	}{
		"an outage":                      {outage, withCaptions},
		"the same answer":                {described(), withCaptions},
		"no texts are written":           {outage, Options{}},
		"a new answer, but none written": {described2(), Options{}},
		"composed texts":                 {sample(), Options{Captions: true, Composed: true}},
		"taken for the file's own":       {uncaptioned(), withCaptions},
		"taken for the own, all allowed": {uncaptioned(), Options{Captions: true, Composed: true}},
		"composed texts are not wanted":  {sample(), withCaptions},
	} {
		if f := writeSample(t, written, c.m, c.o); !bytes.Equal(f.Data, written) {
			t.Errorf("%s: the file changed", name)
		}
	}

	f := writeSample(t, written, described2(), withCaptions)
	for _, old := range []string{"Hund", "Wiese", "de-CH", "seeing"} {
		if bytes.Contains(f.Data, []byte(old)) {
			t.Errorf("%q remains after a new answer", old)
		}
	}
	checkTags(t, f.Data, tags{
		"XMP-dc:Title": "Dogs", "XMP-dc:Title-en": "Dogs", "IPTC:ObjectName": "Dogs", "IFD0:ImageDescription": "Dogs on a lawn.",
		"XMP-photoshop:CaptionWriter": "better (AI), Imagebatch", group + "CaptionModel": "better",
	})
}

// TestTwoModels verifies that words that a new answer does not replace keep their own model.
func TestTwoModels(t *testing.T) {
	written := writeSample(t, cameraJPEG(t), described(), withCaptions).Data
	m := described2()
	m.Keywords, m.AltText = described().Keywords, described().AltText // CAPTION_FIELDS=title,description
	f := writeSample(t, written, m, withCaptions)
	checkTags(t, f.Data, tags{
		"XMP-dc:Title": "Dogs", "XMP-dc:Subject": []string{"Hund", "Wiese"}, "XMP-photoshop:CaptionWriter": "better (AI), Imagebatch",
		"XMP-iptcCore:AltTextAccessibility-de-CH": described().AltText,
		group + "Captioned":                       []string{"title", "description", "keywords", "alt_text"},
		group + "CaptionModel":                    []string{"better", "better", "seeing:7b", "seeing:7b"},
	})
	again := writeSample(t, f.Data, described(), withCaptions)
	checkTags(t, again.Data, tags{"XMP-dc:Title": described().Title, group + "CaptionModel": "seeing:7b"})
}

// TestCopiesOfOurKeywords verifies that the copies of our keywords that catalogs write do not make them a person's, that
// they go when the keywords change, and that a keyword of a person next to them makes the field a person's.
func TestCopiesOfOurKeywords(t *testing.T) {
	tool(t, "exiftool")
	o := Options{Captions: true, KeywordParent: "AI"}
	written := writeSample(t, cameraJPEG(t), described(), o).Data
	results := edited(t,
		exiftoolEdit{"digikam.jpg", written, []string{
			"-XMP-digiKam:TagsList=AI/Hund", "-XMP-digiKam:TagsList=AI/Wiese", "-XMP-microsoft:LastKeywordXMP=AI/Hund", "-XMP-microsoft:LastKeywordXMP=AI/Wiese",
			"-XMP-lr:HierarchicalSubject=AI|Hund", "-XMP-lr:HierarchicalSubject=AI|Wiese",
		}},
		exiftoolEdit{"lightroom.jpg", written, []string{"-XMP-dc:Subject+=AI", "-IPTC:Keywords+=AI", "-Photoshop:IPTCDigest=new", "-XMP-xmp:CreatorTool=Lightroom"}},
		exiftoolEdit{"person.jpg", written, []string{"-XMP-digiKam:TagsList=AI/Hund", "-XMP-digiKam:TagsList=People/Anna"}},
		exiftoolEdit{"own.jpg", written, []string{"-XMP-dc:Subject+=Anna"}},
	)
	for i, name := range []string{"digiKam", "Lightroom"} {
		if f := writeSample(t, results[i], described2(), o); bytes.Contains(f.Data, []byte("Hund")) || bytes.Contains(f.Data, []byte("Wiese")) {
			t.Errorf("%s: old keywords remain", name)
		} else {
			checkTags(t, f.Data, tags{"XMP-dc:Subject": []string{"dog", "lawn"}, "IPTC:Keywords": []string{"dog", "lawn"}, "XMP-lr:HierarchicalSubject": []string{"AI|dog", "AI|lawn"}})
		}
	}
	same := writeSample(t, results[0], described(), o)
	checkTags(t, same.Data, tags{"XMP-dc:Subject": []string{"Hund", "Wiese"}, "XMP-digiKam:TagsList": []string{"AI/Hund", "AI/Wiese"}})

	person := writeSample(t, results[2], described2(), o)
	checkTags(t, person.Data, tags{"XMP-dc:Subject": nil, "IPTC:Keywords": nil, "XMP-lr:HierarchicalSubject": nil, "XMP-digiKam:TagsList": []string{"People/Anna"}})
	own := writeSample(t, results[3], described2(), o)
	checkTags(t, own.Data, tags{"XMP-dc:Subject": []string{"Hund", "Wiese", "Anna"}, "IPTC:Keywords": nil, "XMP-dc:Title": "Dogs"})
}

// TestReplacedDefaultLanguage verifies that the words of a model in its language go when a person replaces only those in the
// default language.
func TestReplacedDefaultLanguage(t *testing.T) {
	tool(t, "exiftool")
	written := writeSample(t, cameraJPEG(t), described(), withCaptions).Data
	replaced := edited(t, exiftoolEdit{"a.jpg", written, []string{"-XMP-dc:Title=Rex"}})[0]
	f := writeSample(t, replaced, described2(), withCaptions)
	checkTags(t, f.Data, tags{"XMP-dc:Title": "Rex", "XMP-dc:Title-de-CH": nil, "XMP-dc:Title-en": nil, "IPTC:ObjectName": nil, "XMP-dc:Description": "Dogs on a lawn."})
}

// TestCopiesOfWindows verifies that the copies that Windows makes of our texts do not make them a person's, and that they
// go when the texts change.
func TestCopiesOfWindows(t *testing.T) {
	tool(t, "exiftool")
	written := writeSample(t, cameraJPEG(t), described(), withCaptions).Data
	results := edited(t,
		exiftoolEdit{"a.jpg", written, []string{"-EXIF:XPKeywords=Hund;Wiese", "-EXIF:XPTitle=Zwei Hunde"}},
		exiftoolEdit{"b.jpg", written, []string{"-EXIF:XPKeywords=Hund;Wiese;Anna"}},
	)
	checkTags(t, writeSample(t, results[0], described(), withCaptions).Data, tags{"IFD0:XPKeywords": "Hund;Wiese", "XMP-dc:Subject": []string{"Hund", "Wiese"}})
	checkTags(t, writeSample(t, results[0], described2(), withCaptions).Data, tags{
		"IFD0:XPKeywords": nil, "IFD0:XPTitle": nil, "XMP-dc:Title": "Dogs", "XMP-dc:Subject": []string{"dog", "lawn"}, "IFD0:ImageDescription": "Dogs on a lawn.",
	})
	checkTags(t, writeSample(t, results[1], described2(), withCaptions).Data, tags{"IFD0:XPKeywords": "Hund;Wiese;Anna", "XMP-dc:Subject": nil, "IPTC:Keywords": nil})
	checkTags(t, clean(t, results[0], false).Data, tags{"IFD0:XPKeywords": nil, "IFD0:XPTitle": nil, "IFD0:ImageDescription": nil})
}
