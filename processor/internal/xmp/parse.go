package xmp

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ErrRefused says that a packet is not one that can be merged with. It is not
// always broken: readers that know more than we do may understand it.
var ErrRefused = errors.New("not a packet to merge with")

// MaxDepth is how deep elements may be nested. What programs write stays under
// twenty.
const MaxDepth = 100

const (
	metaNamespace    = "adobe:ns:meta/"
	dctermsNamespace = "http://purl.org/dc/terms/"
)

// Parse reads a packet. It takes time and memory in proportion to the packet,
// whose size the caller bounds; entities other than XML's own five are refused,
// so nothing in it can grow.
func Parse(packet []byte) (*Packet, error) {
	// Some cameras end the packet with zeros, which XML does not allow.
	body := bytes.TrimRight(packet, "\x00")
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrRefused)
	}
	p := &parser{dec: xml.NewDecoder(bytes.NewReader(body)), out: &Packet{src: packet}}
	for {
		p.start = int(p.dec.InputOffset())
		token, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		p.end = int(p.dec.InputOffset())
		if err := p.take(token); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if !p.seenRDF {
		return nil, fmt.Errorf("%w: no rdf:RDF", ErrRefused)
	}
	// Some readers refuse a packet about two things, so the descriptions of others
	// decide.
	p.out.about = cmp.Or(p.out.about, p.ourAbout)
	if len(body) < len(packet) {
		p.out.blanks = append(p.out.blanks, span{len(body), len(packet)})
	}
	return p.out, nil
}

// parser walks over the tokens of a packet and notes what a merge must know.
type parser struct {
	dec        *xml.Decoder
	out        *Packet
	start, end int // of the token in hand

	depth    int
	seenRoot bool
	seenRDF  bool
	rdfDepth int // number of elements open inside rdf:RDF, itself included; 0 outside

	child childElement // the child of rdf:RDF in hand
	ours  int          // where the property of ours in hand began; -1 when there is none

	ourAbout string // what an earlier description of ours is about
}

// childElement is one child of rdf:RDF: a description, as a rule.
type childElement struct {
	start       int
	description bool
	about       string
	cuts        []span // our properties in it
	foreign     bool   // it holds something that is not ours
}

func (p *parser) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return p.open(t)
	case xml.EndElement:
		p.close()
	case xml.CharData:
		blank := len(bytes.TrimSpace(t)) == 0
		switch {
		case p.depth == 0 && !blank && string(bytes.TrimSpace(t)) != "\ufeff":
			return errors.New("text outside the packet's element")
		case p.depth == 0 && p.seenRoot:
			p.out.blanks = append(p.out.blanks, span{p.start, p.end})
		case !blank:
			p.noteForeign()
		}
	case xml.Comment:
		p.noteForeign()
	case xml.ProcInst:
		p.noteForeign()
	case xml.Directive:
		return errors.New("a declaration in the packet")
	}
	return nil
}

// noteForeign remembers that the description in hand holds something that is
// not ours and must stay.
func (p *parser) noteForeign() {
	if p.rdfDepth > 1 && p.ours < 0 {
		p.child.foreign = true
	}
}

func (p *parser) open(t xml.StartElement) error {
	if p.depth++; p.depth > MaxDepth {
		return errors.New("elements nested too deep")
	}
	if p.rdfDepth > 0 {
		p.rdfDepth++
		return p.openInside(t)
	}
	switch {
	case t.Name.Space == rdfNamespace && t.Name.Local == "RDF":
		if p.seenRDF || p.depth > 2 || p.depth == 1 && p.seenRoot {
			return errors.New("more than one rdf:RDF, or one in an odd place")
		}
		p.seenRoot, p.seenRDF, p.rdfDepth, p.ours = true, true, 1, -1
		return p.openRDF()
	case p.depth == 1 && !p.seenRoot && t.Name.Space == metaNamespace &&
		(t.Name.Local == "xmpmeta" || t.Name.Local == "xapmeta"):
		p.seenRoot = true
		return nil
	default:
		return errors.New("an element other than x:xmpmeta and rdf:RDF")
	}
}

func (p *parser) openRDF() error {
	raw := p.out.src[p.start:p.end]
	tag, err := splitTag(raw)
	if err != nil {
		return err
	}
	p.out.rdfName = tag.name
	p.out.place = p.end
	if bytes.HasSuffix(raw, []byte("/>")) {
		p.out.unclosed = &span{p.end - 2, p.end}
	}
	return nil
}

// openInside sees an element that opens inside rdf:RDF.
func (p *parser) openInside(t xml.StartElement) error {
	if t.Name.Space == dctermsNamespace && t.Name.Local == "provenance" {
		p.out.provenance = true
	}
	switch {
	case p.rdfDepth == 2:
		p.child = childElement{
			start:       p.start,
			description: t.Name.Space == rdfNamespace && t.Name.Local == "Description",
		}
		return p.readAttributes(t)
	case p.rdfDepth == 3 && p.child.description && t.Name.Space == Namespace:
		p.ours = p.start
	default:
		p.noteForeign()
	}
	return nil
}

// readAttributes reads the attributes of a child of rdf:RDF, which may be
// properties.
func (p *parser) readAttributes(t xml.StartElement) error {
	tag, err := splitTag(p.out.src[p.start:p.end])
	if err != nil {
		return err
	}
	if len(tag.attributes) != len(t.Attr) {
		return errors.New("attributes that two readers count differently")
	}
	for i, a := range t.Attr {
		at := tag.attributes[i]
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
		case a.Name.Local == "about" && (a.Name.Space == rdfNamespace || a.Name.Space == ""):
			p.child.about = clean(a.Value)
		case a.Name.Space == Namespace && p.child.description:
			p.child.cuts = append(p.child.cuts, span{p.start + at.start, p.start + at.end})
		default:
			p.child.foreign = true
			if a.Name.Space == dctermsNamespace && a.Name.Local == "provenance" {
				p.out.provenance = true
			}
		}
	}
	return nil
}

func (p *parser) close() {
	p.depth--
	if p.rdfDepth == 0 {
		return
	}
	p.rdfDepth--
	switch p.rdfDepth {
	case 2:
		if p.ours >= 0 {
			p.child.cuts = append(p.child.cuts, span{p.lineStart(p.ours), p.end})
			p.ours = -1
		}
	case 1:
		p.closeChild()
	}
}

// closeChild decides over a child of rdf:RDF: a description that is ours alone
// goes as a whole, with the white space that we put before it; out of others go
// our properties; and our new description comes after the last one that stays.
func (p *parser) closeChild() {
	c := p.child
	if len(c.cuts) > 0 && !c.foreign {
		start := c.start
		if bytes.HasSuffix(p.out.src[:start], []byte(lead)) {
			start -= len(lead)
		}
		p.out.cuts = append(p.out.cuts, span{start, p.end})
		p.ourAbout = cmp.Or(p.ourAbout, c.about)
		return
	}
	p.out.about = cmp.Or(p.out.about, c.about)
	p.out.cuts = append(p.out.cuts, c.cuts...)
	p.out.place = p.end
}

// lineStart moves at back over the white space that indents it, as far as the
// line break before it, so that no empty line is left.
func (p *parser) lineStart(at int) int {
	start := at
	for start > 0 && (p.out.src[start-1] == ' ' || p.out.src[start-1] == '\t') {
		start--
	}
	if start > 0 && p.out.src[start-1] == '\n' {
		return start - 1
	}
	return at
}
