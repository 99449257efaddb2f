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

// ErrRefused means that a packet cannot be merged with. It is not necessarily broken: other readers may
// understand it.
var ErrRefused = errors.New("not a packet to merge with")

// MaxDepth is the maximum nesting of elements. Existing programs write less than twenty levels.
const MaxDepth = 100

const (
	metaNamespace      = "adobe:ns:meta/"
	dctermsNamespace   = "http://purl.org/dc/terms/"
	lightroomNamespace = "http://ns.adobe.com/lightroom/1.0/"
	xmlNamespace       = "http://www.w3.org/XML/1998/namespace"
)

// Parse reads a packet. Its time and memory are proportional to the size of the packet, which the caller
// bounds. It rejects entities other than the five of XML, so nothing in the packet can expand.
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

// parser walks over the tokens of a packet and collects the information for a merge.
type parser struct {
	dec        *xml.Decoder
	out        *Packet
	start, end int // range of the current token

	depth    int
	seenRoot bool
	seenRDF  bool
	rdfDepth int // number of open elements inside rdf:RDF, including itself; 0 outside

	child    childElement // current child of rdf:RDF
	property property     // current property of the child
	inside   bool         // inside a property that matters
	place    placeElement // current element with a place

	composed, digests []string // the lists that identify our captions
}

// childElement is one child of rdf:RDF, usually a description.
type childElement struct {
	span

	description bool
	about       string
	cuts        []span      // our properties in it
	statements  []statement // captions, whose owner is known only at the end
	foreign     bool        // it contains other content
}

// statement is a property of a child that states a caption.
type statement struct {
	span

	field  caption.Field
	values []string
	plain  bool // written in our form, so it may be ours
}

// The depths, inside rdf:RDF, of a description and its content.
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

// noteForeign records that the current description contains something that is not ours and must stay.
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

// openInside handles the start of an element inside rdf:RDF.
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

// openProperty handles the start of a property of a child of rdf:RDF.
func (p *parser) openProperty(t xml.StartElement) {
	field, captions := captionField(t.Name)
	if p.inside = captions || p.child.description && t.Name.Space == Namespace; p.inside {
		p.property = property{start: p.start, name: t.Name, field: field, captions: captions}
		// Ours have no attributes, but a list that another program wrote may have some.
		p.property.odd = captions && (len(t.Attr) > 0 || !p.child.description || t.Name.Space != dcNamespace)
		return
	}
	p.noteForeign()
}

// captionField returns the field of the caption that a property states. Hierarchical keywords count as
// keywords.
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
	odd      bool // differs from the form in which we write it

	values []string
	text   []byte // the last value, which may arrive in several parts
}

// open handles the start of an element inside the property.
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

// readAttributes reads the attributes of a child of rdf:RDF, which may be properties.
func (p *parser) readAttributes(t xml.StartElement) error {
	tag, err := splitTag(p.out.src[p.start:p.end])
	if err != nil {
		return err
	}
	if len(tag.attributes) != len(t.Attr) {
		return errors.New("two readers count different attributes")
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

// closeProperty records a property that matters, with its content.
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

// lineStart moves at back over the indentation before it, including the line break, so that no empty line
// remains.
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
