package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// CaptionField is one of the texts about an image.
type CaptionField int

// The texts about an image.
const (
	Title CaptionField = iota
	Description
	Keywords
	AltText
)

// CaptionFields lists the fields in the order in which they are written.
var CaptionFields = [...]CaptionField{Title, Description, Keywords, AltText}

// String returns the name of the field in [Metadata.Composed], in [Metadata.Captioned] and in our marks.
func (f CaptionField) String() string {
	return [...]string{"title", "description", "keywords", "alt_text"}[f]
}

// Texts are the texts about an image: the values of each field, of which only keywords have
// several.
type Texts [len(CaptionFields)][]string

// Texts returns the texts of the record, by any author.
func (m Metadata) Texts() Texts { return textsOf(m.Title, m.Description, m.Keywords, m.AltText) }

// Texts returns the texts of the model.
func (c Caption) Texts() Texts { return textsOf(c.Title, c.Description, c.Keywords, c.AltText) }

func textsOf(title, description string, keywords []string, altText string) Texts {
	t := Texts{Keywords: keywords}
	for f, text := range map[CaptionField]string{Title: title, Description: description, AltText: altText} {
		if text != "" {
			t[f] = []string{text}
		}
	}
	return t
}

// Mark returns the digest that the processor writes next to a value that the analyzer
// has composed, or that a model wrote. Both use it to recognize the value when the processed image is
// submitted again. It is 64 bits of SHA-256, as hex, of the sorted values with a zero
// byte after each. The values are sorted because programs change the order of keywords.
// After any edit, a value no longer matches its mark and counts as the user's own.
func Mark(values []string) string {
	h := sha256.New()
	for _, v := range slices.Sorted(slices.Values(values)) {
		h.Write([]byte(v + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Marked identifies the values of a field that we have written.
type Marked struct {
	Digest    string // their [Mark]; "" for none
	Captioned bool   // a model wrote them; otherwise they were composed
	Model     string // the model, if known
}

// Marks contains what identifies our values of each field.
type Marks [len(CaptionFields)]Marked

// Ours reports whether the values of a field are as we wrote them.
func (m Marks) Ours(f CaptionField, values []string) bool {
	return m[f].Digest != "" && len(values) > 0 && m[f].Digest == Mark(values)
}

// Blank reports whether all values are empty or white space: some cameras fill a field with spaces.
func Blank(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return strings.Trim(v, " \t\r\n\x00") != "" })
}
