package xmp

import (
	"bytes"
	"slices"
	"strings"
)

// Packet is a packet that a file has, read far enough to put our description
// into it. It keeps the bytes given to [Parse].
type Packet struct {
	src    []byte
	cuts   []span // earlier statements of ours, in order, without overlap
	blanks []span // padding: white space and zeros that nothing depends on

	place    int    // where our description goes
	unclosed *span  // the "/>" of an rdf:RDF without content, which must be opened
	rdfName  string // as it is written, with its prefix
	about    string // what all descriptions of the packet are about

	provenance bool
}

// span is a range of bytes, end excluded.
type span struct{ start, end int }

// HasProvenance tells whether the packet points to Content Credentials that are
// kept elsewhere (dcterms:provenance). They vouch for every byte of the file.
func (p *Packet) HasProvenance() bool { return p.provenance }

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

func (p *Packet) edits(d Description) []edit {
	var b strings.Builder
	var edits []edit
	if p.unclosed != nil {
		b.WriteByte('>')
	}
	b.WriteString(lead)
	d.write(&b, p.about, p.rdfName == "rdf:RDF")
	if p.unclosed != nil {
		b.WriteString("\n </" + p.rdfName + ">")
		edits = append(edits, edit{*p.unclosed, b.String()})
	} else {
		edits = append(edits, edit{span{p.place, p.place}, b.String()})
	}
	for _, cut := range p.cuts {
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
