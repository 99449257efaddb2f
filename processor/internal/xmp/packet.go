package xmp

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
)

// Packet is a packet that a file has, read far enough to put our description
// into it. It keeps the bytes given to [Parse].
type Packet struct {
	src      []byte
	children []childElement // of rdf:RDF
	places   []span         // what tells a GPS position
	blanks   []span         // padding: white space and zeros that nothing depends on

	inner    int    // where the content of rdf:RDF begins
	unclosed *span  // the "/>" of an rdf:RDF without content, which must be opened
	rdfName  string // as it is written, with its prefix

	marks      caption.Marks
	provenance bool
}

// span is a range of bytes, end excluded.
type span struct{ start, end int }

// HasProvenance tells whether the packet points to Content Credentials that are
// kept elsewhere (dcterms:provenance). They vouch for every byte of the file.
func (p *Packet) HasProvenance() bool { return p.provenance }

// Marks are the marks of the captions that we have put into the file.
func (p *Packet) Marks() caption.Marks { return p.marks }

// readMarks takes the names of fields and the digests, two lists in step.
func (p *Packet) readMarks(names, digests []string) {
	for _, f := range caption.Fields {
		if i := slices.Index(names, f.String()); i >= 0 && i < len(digests) {
			p.marks[f] = digests[i]
		}
	}
}

// Ours is what the packet states of the caption as we have written it.
func (p *Packet) Ours() caption.Caption {
	var c caption.Caption
	for _, child := range p.children {
		for _, s := range child.statements {
			if p.ours(s) {
				c[s.field] = s.values
			}
		}
	}
	return c
}

// States tells whether the packet states a field in words that are not ours. An
// empty statement is one too: beside a second one it would make the packet
// invalid.
func (p *Packet) States(f caption.Field) bool {
	for _, child := range p.children {
		for _, s := range child.statements {
			if s.field == f && !p.ours(s) {
				return true
			}
		}
	}
	return false
}

func (p *Packet) ours(s statement) bool {
	return s.plain && p.marks.Ours(s.field, s.values)
}

// HasPlace tells whether the packet tells a GPS position.
func (p *Packet) HasPlace() bool { return len(p.places) > 0 }

// WithoutPlace is the packet without GPS positions, and otherwise as it was.
func (p *Packet) WithoutPlace() []byte {
	edits := make([]edit, len(p.places))
	for i, place := range p.places {
		edits[i].span = place
	}
	return p.apply(edits)
}

// Merge is the packet with d in the place of what we said in it before.
func (p *Packet) Merge(d Description) []byte { return p.apply(p.edits(d)) }

// MergeCompact is Merge without the packet's padding.
func (p *Packet) MergeCompact(d Description) []byte {
	edits := p.edits(d)
	for _, blank := range p.blanks {
		edits = append(edits, edit{span: blank})
	}
	return p.apply(edits)
}

// edit puts text in the place of a range of bytes.
type edit struct {
	span
	text string
}

// stay is what a packet is without what we said in it.
type stay struct {
	cuts  []span
	place int    // where our description goes: behind the last description that stays
	about string // what the descriptions are about
}

// withoutOurs decides over the children of rdf:RDF: a description that is ours
// alone goes as a whole, with the white space that we put before it; out of
// others go our properties.
func (p *Packet) withoutOurs() stay {
	s := stay{place: p.inner}
	var ourAbout string
	for _, c := range p.children {
		cuts, foreign := slices.Clip(c.cuts), c.foreign
		for _, statement := range c.statements {
			if p.ours(statement) {
				cuts = append(cuts, statement.span)
			} else {
				foreign = true
			}
		}
		if len(cuts) > 0 && !foreign {
			start := c.start
			if bytes.HasSuffix(p.src[:start], []byte(lead)) {
				start -= len(lead)
			}
			s.cuts = append(s.cuts, span{start, c.end})
			ourAbout = cmp.Or(ourAbout, c.about)
			continue
		}
		s.about = cmp.Or(s.about, c.about)
		s.cuts = append(s.cuts, cuts...)
		s.place = c.end
	}
	// Some readers refuse a packet about two things, so the descriptions of others
	// decide.
	s.about = cmp.Or(s.about, ourAbout)
	return s
}

func (p *Packet) edits(d Description) []edit {
	stays := p.withoutOurs()
	var b strings.Builder
	var edits []edit
	if p.unclosed != nil {
		b.WriteByte('>')
	}
	b.WriteString(lead)
	d.write(&b, stays.about, p.rdfName == "rdf:RDF")
	if p.unclosed != nil {
		b.WriteString("\n </" + p.rdfName + ">")
		edits = append(edits, edit{*p.unclosed, b.String()})
	} else {
		edits = append(edits, edit{span{stays.place, stays.place}, b.String()})
	}
	for _, cut := range stays.cuts {
		edits = append(edits, edit{span: cut})
	}
	return edits
}

// apply makes the edits, which do not overlap.
func (p *Packet) apply(edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(p.src[at:e.start])
		out.WriteString(e.text)
		at = e.end
	}
	out.Write(p.src[at:])
	return out.Bytes()
}
