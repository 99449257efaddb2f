package xmp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
)

// ErrRefused says that a packet is not one that can be merged with. It is not
// always broken: readers that know more than we do may understand it.
var ErrRefused = errors.New("not a packet to merge with")

// MaxDepth is how deep elements may be nested. What programs write stays under
// twenty.
const MaxDepth = 100

const (
	metaNamespace      = "adobe:ns:meta/"
	dctermsNamespace   = "http://purl.org/dc/terms/"
	lightroomNamespace = "http://ns.adobe.com/lightroom/1.0/"
	xmlNamespace       = "http://www.w3.org/XML/1998/namespace"
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
	if len(body) < len(packet) {
		p.out.blanks = append(p.out.blanks, span{len(body), len(packet)})
	}
	p.out.readMarks(p.composed, p.digests)
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

	child    childElement // the child of rdf:RDF in hand
	property property     // of it, in hand
	inside   bool         // such a property, that matters
	place    placeElement // in hand

	composed, digests []string // the lists by which we know our own captions
}

// childElement is one child of rdf:RDF: a description, as a rule.
type childElement struct {
	span

	description bool
	about       string
	cuts        []span      // our properties in it
	statements  []statement // of captions, whose owner is not known before the end
	foreign     bool        // it holds something else
}

// statement is a property of a child that says something of a caption.
type statement struct {
	span

	field  caption.Field
	values []string
	plain  bool // it has the form in which we write, so it may be ours
}

// The depths, inside rdf:RDF, of a description and what is in it.
const (
	childDepth = iota + 2
	propertyDepth
	listDepth
	itemDepth
)

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
		case p.inside && p.rdfDepth == itemDepth:
			p.property.addText(t)
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
	switch {
	case p.inside:
		p.property.odd = true
	case p.rdfDepth > 1:
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
		p.seenRoot, p.seenRDF, p.rdfDepth = true, true, 1
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
	p.out.inner = p.end
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
	case p.rdfDepth == childDepth:
		p.child = childElement{
			span:        span{start: p.start},
			description: t.Name.Space == rdfNamespace && t.Name.Local == "Description",
		}
		return p.readAttributes(t)
	case p.rdfDepth == propertyDepth:
		p.openProperty(t)
	case p.inside:
		p.property.open(p.rdfDepth, t)
	default:
		p.noteForeign()
	}
	return p.notePlaces(t)
}

// openProperty sees a property of a child of rdf:RDF.
func (p *parser) openProperty(t xml.StartElement) {
	field, captions := captionField(t.Name)
	if p.inside = captions || p.child.description && t.Name.Space == Namespace; p.inside {
		p.property = property{start: p.start, name: t.Name, field: field, captions: captions}
		// Ours have no attributes, but a list that another program wrote may.
		p.property.odd = captions && (len(t.Attr) > 0 || !p.child.description || t.Name.Space != dcNamespace)
		return
	}
	p.noteForeign()
}

// captionField tells which field of the caption a property states. Keywords in
// levels are keywords too.
func captionField(n xml.Name) (caption.Field, bool) {
	switch n {
	case xml.Name{Space: dcNamespace, Local: "title"}:
		return caption.Title, true
	case xml.Name{Space: dcNamespace, Local: "description"}:
		return caption.Description, true
	case xml.Name{Space: dcNamespace, Local: "subject"}, xml.Name{Space: lightroomNamespace, Local: "hierarchicalSubject"}:
		return caption.Keywords, true
	default:
		return 0, false
	}
}

// property is a property that matters, while it is read.
type property struct {
	start    int
	name     xml.Name
	field    caption.Field
	captions bool
	odd      bool // it has another form than we would give it

	values []string
	text   []byte // of the last value, which may come in many parts
}

// open sees an element inside the property.
func (p *property) open(depth int, t xml.StartElement) {
	switch {
	case depth == listDepth && t.Name.Space == rdfNamespace && len(t.Attr) == 0:
		p.odd = p.odd || p.captions && t.Name.Local != listOf[p.field]
	case depth == itemDepth && t.Name.Space == rdfNamespace && t.Name.Local == "li":
		p.endValue()
		p.values = append(p.values, "")
		for _, a := range t.Attr {
			p.odd = p.odd || listOf[p.field] != "Alt" || a.Name.Space != xmlNamespace || a.Value != defaultLanguage
		}
	default:
		p.odd = true
	}
}

func (p *property) addText(text []byte) {
	if len(p.values) == 0 {
		p.odd = true
		return
	}
	p.text = append(p.text, text...)
}

func (p *property) endValue() {
	if len(p.values) > 0 {
		p.values[len(p.values)-1], p.text = string(p.text), p.text[:0]
	}
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
		at := span{p.start + tag.attributes[i].start, p.start + tag.attributes[i].end}
		field, captions := captionField(a.Name)
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
		case a.Name.Local == "about" && (a.Name.Space == rdfNamespace || a.Name.Space == ""):
			p.child.about = clean(a.Value)
		case a.Name.Space == Namespace && p.child.description:
			p.child.cuts = append(p.child.cuts, at)
		case captions:
			p.child.statements = append(p.child.statements, statement{span: at, field: field})
		default:
			p.child.foreign = true
			if a.Name.Space == dctermsNamespace && a.Name.Local == "provenance" {
				p.out.provenance = true
			}
			if isPlace(a.Name) {
				p.out.places = append(p.out.places, at)
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
	p.closePlace()
	switch p.rdfDepth {
	case propertyDepth:
		p.closeProperty()
	case childDepth:
		p.child.end = p.end
		p.out.children = append(p.out.children, p.child)
	}
	p.rdfDepth--
}

// closeProperty notes a property that matters with all that is in it.
func (p *parser) closeProperty() {
	if !p.inside {
		return
	}
	p.inside = false
	p.property.endValue()
	at := span{p.lineStart(p.property.start), p.end}
	if p.property.captions {
		p.child.statements = append(p.child.statements, statement{
			span: at, field: p.property.field, values: p.property.values, plain: !p.property.odd,
		})
		return
	}
	p.child.cuts = append(p.child.cuts, at)
	switch p.property.name.Local {
	case composedName:
		p.composed = p.property.values
	case digestsName:
		p.digests = p.property.values
	}
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
