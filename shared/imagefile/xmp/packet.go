package xmp

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Packet is the packet of a file: the values of the known properties, and what is needed to insert our
// description. It keeps a reference to the bytes passed to [Parse].
type Packet struct {
	src      []byte
	values   map[string][]Value
	damage   error          // first unreadable part
	refused  error          // first reason why the packet cannot be edited
	children []childElement // children of rdf:RDF
	places   []edit.Span    // ranges that contain a GPS position
	blanks   []edit.Span    // padding: white space and zeros without meaning

	inner    int        // start of the content of rdf:RDF
	unclosed *edit.Span // the "/>" of an empty rdf:RDF, which must be opened
	rdfName  string     // as written, with its prefix

	marks       pipeline.Marks
	provenance  bool
	empty       bool
	replaceable func(text string) bool // texts of a title or description that count as missing; may be nil
}

// Damage returns the error that ended the reading of values, or nil.
func (p *Packet) Damage() error { return p.damage }

// Editable returns nil, or an error that wraps ErrRefused for a packet that must not be edited.
func (p *Packet) Editable() error { return p.refused }

// Empty reports whether the packet contains nothing. It cannot be edited, but a new one can replace it.
func (p *Packet) Empty() bool { return p.empty }

// HasProvenance reports whether the packet links to a manifest of Content Credentials (dcterms:provenance). They certify
// every byte of the file.
func (p *Packet) HasProvenance() bool { return p.provenance }

// Marks returns the marks of the captions that we have written into the file.
func (p *Packet) Marks() pipeline.Marks { return p.marks }

// readMarks reads the names of the fields and the digests, which are parallel lists.
func (p *Packet) readMarks(names, digests []string) {
	for _, f := range pipeline.CaptionFields {
		if i := slices.Index(names, f.String()); i >= 0 && i < len(digests) {
			p.marks[f] = digests[i]
		}
	}
}

// Ours returns the part of the packet's caption that is as we have written it.
func (p *Packet) Ours() pipeline.Texts {
	var c pipeline.Texts
	for _, child := range p.children {
		for _, s := range child.statements {
			if p.ours(s) {
				c[s.field] = s.values
			}
		}
	}
	return c
}

// Replaceable lets our captions replace titles and descriptions that consist of such texts only.
func (p *Packet) Replaceable(is func(text string) bool) { p.replaceable = is }

// Replaced returns the texts that our caption would replace. Blank texts are not listed.
func (p *Packet) Replaced(c pipeline.Texts) []string {
	var all []string
	for _, child := range p.children {
		for _, s := range child.statements {
			if len(c[s.field]) > 0 && s.dc && !s.blank() && !p.ours(s) && p.missing(s) {
				all = append(all, s.values...)
			}
		}
	}
	return all
}

// missing reports whether a statement says nothing about the image: it is blank or replaceable.
func (p *Packet) missing(s statement) bool {
	if s.blank() {
		return true
	}
	if p.replaceable == nil || s.field == pipeline.Keywords || !s.bare || len(s.values) == 0 || len(s.values) == maxValues {
		return false
	}
	return !slices.ContainsFunc(s.values, func(v string) bool { return !pipeline.Blank([]string{v}) && !p.replaceable(v) })
}

// States reports whether the packet states a field with a value that is neither missing nor ours.
func (p *Packet) States(f pipeline.CaptionField) bool {
	for _, child := range p.children {
		for _, s := range child.statements {
			if s.field == f && !p.missing(s) && !p.ours(s) {
				return true
			}
		}
	}
	return false
}

func (p *Packet) ours(s statement) bool {
	return s.plain && p.marks.Ours(s.field, s.values)
}

// HasPlace reports whether the packet contains a GPS position.
func (p *Packet) HasPlace() bool { return len(p.places) > 0 }

// WithoutPlace returns the packet without GPS positions, and otherwise unchanged.
func (p *Packet) WithoutPlace() []byte {
	edits := make(edit.Edits, len(p.places))
	for i, place := range p.places {
		edits[i].Span = place
	}
	return edits.Apply(p.src)
}

// Merge returns the packet with d in place of our earlier description.
func (p *Packet) Merge(d Description) []byte { return p.edits(d).Apply(p.src) }

// MergeCompact is Merge without the packet's padding.
func (p *Packet) MergeCompact(d Description) []byte {
	edits := p.edits(d)
	for _, blank := range p.blanks {
		edits = append(edits, edit.Edit{Span: blank})
	}
	return edits.Apply(p.src)
}

// remainder describes a packet without our properties.
type remainder struct {
	cuts  []edit.Span
	place int    // where our description is inserted: after the last remaining description
	about string // subject of the descriptions
}

// withoutOurs decides about the children of rdf:RDF: a description with only our properties is removed as a
// whole, with the white space that we put before it; from others, only our properties are removed. A
// missing property of a caption in d is removed too: a second one next to it would make the packet invalid.
func (p *Packet) withoutOurs(d Description) remainder {
	s := remainder{place: p.inner}
	var ourAbout string
	for _, c := range p.children {
		cuts, foreign := slices.Clip(c.cuts), c.foreign
		for _, statement := range c.statements {
			if p.ours(statement) || statement.dc && p.missing(statement) && d.states(statement.field) {
				cuts = append(cuts, statement.Span)
			} else {
				foreign = true
			}
		}
		if len(cuts) > 0 && !foreign {
			start := c.Start
			if bytes.HasSuffix(p.src[:start], []byte(lead)) {
				start -= len(lead)
			}
			s.cuts = append(s.cuts, edit.Span{Start: start, End: c.End})
			ourAbout = cmp.Or(ourAbout, c.about)
			continue
		}
		s.about = cmp.Or(s.about, c.about)
		s.cuts = append(s.cuts, cuts...)
		s.place = c.End
	}
	// Some readers reject a packet with two subjects, so the descriptions of others take precedence.
	s.about = cmp.Or(s.about, ourAbout)
	return s
}

func (p *Packet) edits(d Description) edit.Edits {
	stays := p.withoutOurs(d)
	var b strings.Builder
	var edits edit.Edits
	if p.unclosed != nil {
		b.WriteByte('>')
	}
	b.WriteString(lead)
	d.write(&b, stays.about, p.rdfName == "rdf:RDF")
	if p.unclosed != nil {
		b.WriteString("\n </" + p.rdfName + ">")
		edits = append(edits, edit.Edit{Span: *p.unclosed, With: []byte(b.String())})
	} else {
		edits = append(edits, edit.Edit{Span: edit.Span{Start: stays.place, End: stays.place}, With: []byte(b.String())})
	}
	for _, cut := range stays.cuts {
		edits = append(edits, edit.Edit{Span: cut})
	}
	return edits
}
