// Package caption models the text that a person would write about an image, its title, description and
// keywords, and determines whether a person wrote it.
//
// A file states them in up to three places, which the Metadata Working Group (Guidelines for Handling Image
// Metadata, 2.0) treats as one: dc:title, dc:description and dc:subject of XMP; ImageDescription of EXIF; 2:05,
// 2:120 and 2:25 of IPTC-IIM. A field belongs to its writer: one that a person or another program has written
// in any of the places is theirs in all of them.
//
// Imagebatch marks the texts that it composes with a digest of the value. A value that still matches its mark's
// digest may be replaced or removed. After the slightest edit a value is no longer ours, even if the edit keeps
// our mark.
package caption

import (
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Field is one of the descriptive fields.
type Field int

// The fields.
const (
	Title Field = iota
	Description
	Keywords
)

// Fields lists the fields in the order in which they are written.
var Fields = [...]Field{Title, Description, Keywords}

// String returns the name of the field in pipeline.Metadata.Composed and in our marks.
func (f Field) String() string {
	return [...]string{"title", "description", "keywords"}[f]
}

// Caption contains the values of each field, at most one for title and description.
type Caption [len(Fields)][]string

// Composed returns the caption that the analyzer composed, without the fields that it found in the file.
func Composed(m pipeline.Metadata) Caption {
	all := Stated(m)
	for _, f := range Fields {
		if !slices.Contains(m.Composed, f.String()) {
			all[f] = nil
		}
	}
	return all
}

// Stated returns the whole caption of the record, composed or found.
func Stated(m pipeline.Metadata) Caption {
	var c Caption
	if m.Title != "" {
		c[Title] = []string{m.Title}
	}
	if m.Description != "" {
		c[Description] = []string{m.Description}
	}
	c[Keywords] = m.Keywords
	return c
}

// Marks contains the [pipeline.Mark] of each field that we have composed.
type Marks [len(Fields)]string

// Ours reports whether the values of a field are as we wrote them.
func (m Marks) Ours(f Field, values []string) bool {
	return m[f] != "" && len(values) > 0 && m[f] == pipeline.Mark(values)
}

// Blank reports whether all values are empty or white space: some cameras fill a field with spaces.
func Blank(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return strings.Trim(v, " \t\r\n\x00") != "" })
}
