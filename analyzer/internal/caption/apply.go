package caption

import (
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Fields returns the texts that a model may write: those of fields that are composed, missing, or words of a model
// from an earlier run. It is empty if the file states all of them itself, so that there is no reason to ask a model.
func Fields(m pipeline.Metadata, fields []string) []string {
	texts := m.Texts()
	var open []string
	for _, f := range pipeline.CaptionFields {
		name := f.String()
		if slices.Contains(fields, name) &&
			(len(texts[f]) == 0 || slices.Contains(m.Composed, name) || slices.Contains(m.Captioned, name)) {
			open = append(open, name)
		}
	}
	return open
}

// Apply adds the answer of a model to the record. Its texts replace composed ones and a model's earlier ones, in the
// given fields only. What a person wrote stays, and so do a model's earlier words for which the answer has none.
func Apply(m *pipeline.Metadata, a pipeline.Caption, fields []string) {
	a.Model, a.Language = record.Clean(a.Model, record.MaxText), record.Clean(a.Language, record.MaxLanguage)
	a.Title, a.Description = record.Clean(a.Title, record.MaxText), record.Clean(a.Description, record.MaxDescription)
	a.Keywords, a.AltText = record.Keywords(a.Keywords), record.Clean(a.AltText, record.MaxAltText)
	open := Fields(*m, fields)
	m.Caption = &a
	captioned := m.Captioned
	m.Captioned = nil
	for _, f := range pipeline.CaptionFields {
		name := f.String()
		if values := a.Texts()[f]; slices.Contains(open, name) && len(values) > 0 {
			set(m, f, values)
			m.Composed = slices.DeleteFunc(slices.Clone(m.Composed), func(c string) bool { return c == name })
			m.Captioned = append(m.Captioned, name)
		} else if slices.Contains(captioned, name) {
			m.Captioned = append(m.Captioned, name)
		}
	}
	if len(m.Composed) == 0 {
		m.Composed = nil
	}
}

// Remove removes the texts of a model from the record, and composes those that are then missing. What a person
// wrote stays.
func Remove(m *pipeline.Metadata) {
	for _, f := range pipeline.CaptionFields {
		if slices.Contains(m.Captioned, f.String()) || slices.Contains(m.Composed, f.String()) {
			set(m, f, nil)
		}
	}
	m.Captioned, m.Caption, m.Composed = nil, nil, nil
	Compose(m) // those that were composed before get the same words
}

// set sets a text of the record, or removes it. Only keywords have several values.
func set(m *pipeline.Metadata, f pipeline.CaptionField, values []string) {
	text := strings.Join(values, "")
	switch f {
	case pipeline.Title:
		m.Title = text
	case pipeline.Description:
		m.Description = text
	case pipeline.Keywords:
		m.Keywords = values
	case pipeline.AltText:
		m.AltText = text
	}
}
