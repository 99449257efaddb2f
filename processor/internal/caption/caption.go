// Package caption is what a person would write about a picture: its title, its
// description and its keywords, and how to tell whether it was a person.
//
// A file states them in up to three places, which the Metadata Working Group
// (Guidelines for Handling Image Metadata, 2.0) takes for one: dc:title,
// dc:description and dc:subject of XMP; ImageDescription of EXIF; 2:05, 2:120 and
// 2:25 of IPTC-IIM. A field belongs to whoever wrote it: one that a person or
// another program has written in any of the places is theirs in all of them.
//
// What Imagebatch composes it marks as its own with a digest of the value. A
// value that still has its mark's digest may be replaced or removed; the least
// edit takes it out of our hands for good, even one that keeps our mark.
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

// Fields are the fields in the order in which they are written.
var Fields = [...]Field{Title, Description, Keywords}

// String is the name of the field in pipeline.Metadata.Composed and in our marks.
func (f Field) String() string {
	return [...]string{"title", "description", "keywords"}[f]
}

// Caption has the values of each field: one at most of title and description.
type Caption [len(Fields)][]string

// Composed is what the analyzer composed of an image, without what it found in
// the file.
func Composed(m pipeline.Metadata) Caption {
	all := Stated(m)
	for _, f := range Fields {
		if !slices.Contains(m.Composed, f.String()) {
			all[f] = nil
		}
	}
	return all
}

// Stated is all that the analyzer tells, composed or found.
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

// Marks has the [pipeline.Mark] of each field that we have composed.
type Marks [len(Fields)]string

// Ours tells whether these values of a field are as we wrote them.
func (m Marks) Ours(f Field, values []string) bool {
	return m[f] != "" && len(values) > 0 && m[f] == pipeline.Mark(values)
}

// Blank tells whether values say nothing: some cameras fill a field with spaces.
func Blank(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return strings.Trim(v, " \t\r\n\x00") != "" })
}
