package describe

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/caption"
	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var captionFields = []string{"title", "description", "keywords", "alt_text"}

// captioned describes a file, adds the answer of a model, and writes the texts into the file, as the pipeline does.
func captioned(t *testing.T, file []byte, a pipeline.Caption) (pipeline.Metadata, []byte) {
	t.Helper()
	m, _ := describe(t, file)
	caption.Apply(&m, a, captionFields)
	checkSchema(t, m)
	f, err := embed.Write(file, m, embed.Options{Captions: true, KeywordParent: "AI"})
	if err != nil {
		t.Fatal(err)
	}
	return m, f.Data
}

// textsOf are the parts of a record that a model may have written.
type textsOf struct {
	title, description string
	keywords, paths    []string
	altText            string
	captioned          []string
	composed           []string
	caption            *pipeline.Caption
}

func textsIn(m pipeline.Metadata) textsOf {
	return textsOf{m.Title, m.Description, m.Keywords, m.KeywordPaths, m.AltText, m.Captioned, m.Composed, m.Caption}
}

// TestModelsTextsAreNotAPersons sends files again into which a model's texts were written. It verifies that the record has
// them with their model, that editing one of them makes only that one a person's, and that another answer replaces them.
func TestModelsTextsAreNotAPersons(t *testing.T) {
	a := pipeline.Caption{
		Model: "seeing:7b", Language: "fa", Title: "دو سگ", Description: "می\u200cدوند 👩\u200d👧.", Keywords: []string{"سگ", "چمن"}, AltText: "Two & two",
		DurationMS: 7, PromptTokens: 8, CompletionTokens: 9,
	}
	jpg, png := fixture.EncodeJPEG(t, fixture.Photo(60, 40), 85), fixture.EncodePNG(t, fixture.Photo(60, 40))
	exif := fixture.TIFF(fixture.Tag("IFD0", 0x010f, 2, []byte("Acme\x00")))
	for name, file := range map[string][]byte{"jpeg": jpg, "jpeg with EXIF": fixture.WithExif(jpg, exif), "png": png} {
		first, written := captioned(t, file, a)
		want := textsOf{
			title: a.Title, description: a.Description, keywords: a.Keywords, altText: a.AltText, captioned: captionFields,
			caption: &pipeline.Caption{Model: a.Model, Language: a.Language},
		}
		again, _ := describe(t, written)
		if got := textsIn(again); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the record of our output is\n%+v, want\n%+v", name, got, want)
		}
		answered := want
		answered.caption = &a
		if got := textsIn(first); !reflect.DeepEqual(got, answered) {
			t.Errorf("%s: the record is\n%+v, want\n%+v", name, got, answered)
		}
		before, err := imagefile.PictureHash(file)
		if after, errAfter := imagefile.PictureHash(written); err != nil || errAfter != nil || before != after {
			t.Errorf("%s: our output has another picture hash: %s, %s", name, before, after)
		}

		if name == "png" { // its chunks have checksums
			continue
		}
		edited := bytes.ReplaceAll(written, []byte(a.Title), []byte("Rex."+a.Title[4:]))
		want.title, want.captioned = "Rex."+a.Title[4:], captionFields[1:]
		if got, _ := describe(t, edited); !reflect.DeepEqual(textsIn(got), want) {
			t.Errorf("%s: the record with an edited title is\n%+v, want\n%+v", name, textsIn(got), want)
		}
		b := pipeline.Caption{Model: "better", Language: "en", Title: "Dogs", Description: "Dogs run.", Keywords: []string{"dog"}, AltText: "Dogs."}
		replaced, rewritten := captioned(t, edited, b)
		if replaced.Title != want.title || replaced.Description != b.Description || !reflect.DeepEqual(replaced.Keywords, b.Keywords) {
			t.Errorf("%s: after another answer: %+v", name, textsIn(replaced))
		}
		if bytes.Contains(rewritten, []byte(a.Keywords[1])) || bytes.Contains(rewritten, []byte("seeing")) {
			t.Errorf("%s: words of the first model remain", name)
		}
	}
}

// TestRemovedTexts verifies that without a model's texts, the record of our output is that of the file before.
func TestRemovedTexts(t *testing.T) {
	a := pipeline.Caption{Model: "seeing:7b", Language: "en", Title: "Dogs", Description: "Dogs run.", Keywords: []string{"dog", "lawn"}, AltText: "Dogs."}
	jpg := fixture.EncodeJPEG(t, fixture.Photo(60, 40), 85)
	for name, file := range map[string][]byte{
		"jpeg": jpg, "png": fixture.EncodePNG(t, fixture.Photo(60, 40)),
		"jpeg with EXIF": fixture.WithExif(jpg, fixture.TIFF(fixture.Tag("IFD0", 0x010f, 2, []byte("Acme\x00")), fixture.Tag("IFD0", 0x010e, 2, []byte("Rex on the lawn\x00")))),
	} {
		before, _ := describe(t, file)
		m, written := captioned(t, file, a)
		if len(m.Captioned) == 0 {
			t.Fatalf("%s: no text of a model was written", name)
		}
		after, _ := describe(t, written)
		caption.Remove(&after)
		checkSchema(t, after)
		if got, want := textsIn(after), textsIn(before); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the record is\n%+v, want\n%+v", name, got, want)
		}
	}
}

// TestComposedTextsAreNotAModels verifies that texts that we composed and wrote earlier are composed again.
func TestComposedTextsAreNotAModels(t *testing.T) {
	file := fixture.EncodeJPEG(t, fixture.Photo(60, 40), 85)
	m, _ := describe(t, file)
	written, err := embed.Write(file, m, embed.Options{Composed: true})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := describe(t, written.Data); !reflect.DeepEqual(textsIn(again), textsIn(m)) || len(again.Composed) != 3 {
		t.Errorf("the record of our output is\n%+v, want\n%+v", textsIn(again), textsIn(m))
	}
}

// TestStatementsAboutAI verifies that the record has what the file states about its own origin and for people who cannot
// see it.
func TestStatementsAboutAI(t *testing.T) {
	const source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
	jpg := fixture.EncodeJPEG(t, fixture.Photo(60, 40), 85)
	packet := `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description rdf:about="" xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" ` +
		`e:DigitalSourceType="` + source + `" e:AISystemUsed="Painter" e:AISystemVersionUsed="3" e:AIPromptInformation="a dog" e:AIPromptWriterName="Erika">` +
		`<c:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default">A dog.</rdf:li></rdf:Alt></c:AltTextAccessibility></rdf:Description></rdf:RDF></x:xmpmeta>`
	m, written := captioned(t, withXMP(jpg, packet), pipeline.Caption{Model: "m", Title: "A dog", AltText: "Another."})
	want := pipeline.MadeByAI{System: "Painter", SystemVersion: "3", Prompt: "a dog", PromptWriter: "Erika"}
	if m.DigitalSourceType != source || m.MadeByAI == nil || *m.MadeByAI != want || m.AltText != "A dog." {
		t.Errorf("source %q, made by %+v, alternative text %q", m.DigitalSourceType, m.MadeByAI, m.AltText)
	}
	if !bytes.Contains(written, []byte(`e:AISystemUsed="Painter"`)) || bytes.Count(written, []byte("DigitalSourceType")) != 1 {
		t.Error("the statements in the file changed")
	}
}

// withXMP inserts a packet directly after the start of a JPEG.
func withXMP(jpg []byte, packet string) []byte {
	payload := "http://ns.adobe.com/xap/1.0/\x00" + packet
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(payload)))
	return slices.Concat(jpg[:2], segment, []byte(payload), jpg[2:])
}
