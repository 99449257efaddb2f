package caption

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var allFields = []string{"title", "description", "keywords", "alt_text"}

func answer() pipeline.Caption {
	return pipeline.Caption{
		Model: "model-b", Language: "en", Title: "A dog", Description: "A dog on a lawn.", Keywords: []string{"dog", "lawn"},
		AltText: "A brown dog on a lawn.", DurationMS: 12, PromptTokens: 3, CompletionTokens: 4,
	}
}

// TestRemove verifies that a model's words leave the record, that composed ones take their place, and that a person's stay.
func TestRemove(t *testing.T) {
	base := pipeline.Metadata{Format: "jpeg", Shape: "landscape", Width: 4, Height: 3, Rating: 5}
	composed := base
	Compose(&composed)
	persons := base
	persons.Title, persons.AltText = "Rex", "Our Rex."
	personsComposed := persons
	Compose(&personsComposed)
	for name, c := range map[string]struct{ m, want pipeline.Metadata }{
		"nothing":  {composed, composed},
		"a person": {personsComposed, personsComposed},
	} {
		for _, fields := range [][]string{nil, {"title"}, {"keywords", "alt_text"}, allFields} {
			m := c.m
			m.Composed = slices.Clone(m.Composed)
			if fields != nil {
				Apply(&m, answer(), fields)
			}
			Remove(&m)
			if !reflect.DeepEqual(m, c.want) {
				t.Errorf("%s, after an answer for %v: the record is\n%+v, want\n%+v", name, fields, m, c.want)
			}
		}
	}
}

// TestApply verifies who wins each field: a person before a model, and a model before composed text and before a
// model's earlier words.
func TestApply(t *testing.T) {
	earlier := &pipeline.Caption{Model: "model-a", Language: "de"}
	for name, c := range map[string]struct {
		m, want pipeline.Metadata
		fields  []string
		answer  pipeline.Caption
	}{
		"composed": {
			pipeline.Metadata{Title: "JPEG image", Description: "Landscape.", Keywords: []string{"jpeg"}, Composed: []string{"title", "description", "keywords"}},
			pipeline.Metadata{Title: "A dog", Description: "A dog on a lawn.", Keywords: []string{"dog", "lawn"}, AltText: "A brown dog on a lawn.", Captioned: allFields},
			allFields, answer(),
		},
		"a person's title and alternative text": {
			pipeline.Metadata{Title: "Rex", AltText: "Our Rex.", Description: "Landscape.", Keywords: []string{"jpeg"}, Composed: []string{"description", "keywords"}},
			pipeline.Metadata{Title: "Rex", AltText: "Our Rex.", Description: "A dog on a lawn.", Keywords: []string{"dog", "lawn"}, Captioned: []string{"description", "keywords"}},
			allFields, answer(),
		},
		"earlier words": {
			pipeline.Metadata{Title: "Ein Hund", Description: "Landscape.", Keywords: []string{"Hund"}, Composed: []string{"description"}, Captioned: []string{"title", "keywords"}, Caption: earlier},
			pipeline.Metadata{Title: "A dog", Description: "A dog on a lawn.", Keywords: []string{"dog", "lawn"}, AltText: "A brown dog on a lawn.", Captioned: allFields},
			allFields, answer(),
		},
		"only keywords are allowed": {
			pipeline.Metadata{Title: "Ein Hund", Description: "Landscape.", Keywords: []string{"jpeg"}, Composed: []string{"description", "keywords"}, Captioned: []string{"title"}, Caption: earlier},
			pipeline.Metadata{Title: "Ein Hund", Description: "Landscape.", Keywords: []string{"dog", "lawn"}, Composed: []string{"description"}, Captioned: []string{"title", "keywords"}},
			[]string{"keywords"},
			answer(),
		},
		"an answer without keywords": {
			pipeline.Metadata{Title: "JPEG image", Keywords: []string{"Hund"}, Composed: []string{"title"}, Captioned: []string{"keywords"}, Caption: earlier},
			pipeline.Metadata{Title: "A dog", Keywords: []string{"Hund"}, Captioned: []string{"title", "keywords"}},
			allFields,
			pipeline.Caption{Model: "model-b", Title: "A dog"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.m.Composed)
			composed := c.m.Composed
			c.want.Caption = &c.answer
			Apply(&c.m, c.answer, c.fields)
			if !reflect.DeepEqual(c.m, c.want) {
				t.Errorf("the record is  %+v\nwant           %+v", c.m, c.want)
			}
			if !slices.Equal(before, composed) {
				t.Errorf("the caller's list became %q", composed)
			}
		})
	}
}

// TestFields verifies that a model is asked only if it may write something.
func TestFields(t *testing.T) {
	own := pipeline.Metadata{Title: "Rex", Description: "Our Rex.", Keywords: []string{"Rex"}, AltText: "Rex."}
	if got := Fields(own, allFields); len(got) != 0 {
		t.Errorf("a file with all texts has %q open", got)
	}
	own.AltText = ""
	own.Composed, own.Captioned = []string{"title"}, []string{"keywords"}
	if got := Fields(own, allFields); !slices.Equal(got, []string{"title", "keywords", "alt_text"}) {
		t.Errorf("open are %q", got)
	}
	if got := Fields(own, []string{"description"}); len(got) != 0 {
		t.Errorf("open are %q, though only the description may be written", got)
	}
}

// TestAnswersAreBounded verifies that an answer cannot make the record larger than its bounds.
func TestAnswersAreBounded(t *testing.T) {
	long := strings.Repeat("Ω", 5000)
	var m pipeline.Metadata
	Apply(&m, pipeline.Caption{Model: long, Language: long, Title: long, Description: long, Keywords: []string{long, long, "a\x00b"}, AltText: long}, allFields)
	if len(m.Title) > record.MaxText || len(m.Description) > record.MaxDescription || len(m.AltText) > record.MaxAltText ||
		len(m.Caption.Model) > record.MaxText || len(m.Caption.Language) > record.MaxLanguage || len(m.Keywords) != 2 || m.Keywords[1] != "ab" {
		t.Errorf("the record is %+v", m)
	}
}
