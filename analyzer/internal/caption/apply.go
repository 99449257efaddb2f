package caption

import (
	"slices"

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

// set sets a text of the record. Only keywords have several values.
func set(m *pipeline.Metadata, f pipeline.CaptionField, values []string) {
	switch f {
	case pipeline.Title:
		m.Title = values[0]
	case pipeline.Description:
		m.Description = values[0]
	case pipeline.Keywords:
		m.Keywords = values
	case pipeline.AltText:
		m.AltText = values[0]
	}
}
