package xmp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// ErrRefused means that a packet cannot be merged with. It is not necessarily broken: other readers may
// understand it.
var ErrRefused = errors.New("not a packet to merge with")

// Limits for reading a packet. The caller bounds its size.
const (
	MaxDepth  = 100     // nesting of elements; existing programs write less than twenty levels
	maxValues = 256     // values of a property
	maxValue  = 8 << 10 // bytes kept of a value
	// maxChildren bounds the children of rdf:RDF in a packet that is merged with.
	maxChildren = 10_000
)

// Parse reads a packet. Its time and memory are proportional to the size of the packet: nothing in it can
// expand, because the only entities are the five of XML. The values before the first unreadable part are kept.
func Parse(packet []byte) *Packet {
	packet, encodingErr := inUTF8(packet)
	// Some cameras end the packet with zeros, which XML does not allow.
	body := bytes.TrimRight(packet, "\x00")
	p := &parser{
		dec: xml.NewDecoder(bytes.NewReader(body)),
		out: &Packet{src: packet, values: map[string][]Value{}}, marks: map[string][]string{},
	}
	if encodingErr != nil {
		p.refuse(encodingErr)
	} else if !utf8.Valid(body) {
		p.refuse(errors.New("not UTF-8"))
	}
	if err := p.read(); err != nil {
		p.out.damage = err
		p.out.keep(p.property.known, p.property.values)
		p.refuse(err)
	}
	if !p.seenRDF {
		p.out.empty = p.out.refused == nil && !p.foreign
		p.refuse(errors.New("no rdf:RDF"))
	}
	p.out.readMarks(p.marks)
	if len(body) < len(packet) {
		p.out.blanks = append(p.out.blanks, edit.Span{Start: len(body), End: len(packet)})
	}
	return p.out
}

// parser walks over the tokens of a packet. It keeps the values of known properties wherever readers look for
// them, and collects the information for a merge until the packet has to be refused.
type parser struct {
	dec        *xml.Decoder
	out        *Packet
	start, end int // range of the current token

	depth    int
	rdf      int // depth of the current rdf:RDF; 0 outside
	seenRoot bool
	seenRDF  bool
	foreign  bool // there is content outside of rdf:RDF

	child    childElement // current child of rdf:RDF
	property property     // current property of the child
	place    placeElement // current element with a place

	provenance provenanceElement

	marks map[string][]string // the properties that identify our texts
}

// childElement is one child of rdf:RDF, usually a description.
type childElement struct {
	edit.Span

	description bool
	about       string
	cuts        []cut       // our properties in it
	statements  []statement // captions, whose owner is known only at the end
	foreign     bool        // it contains other content
}

// cut is a property in our namespace.
type cut struct {
	edit.Span

	name string
}

// The levels inside rdf:RDF: a description, its property, a list that is the property's value, and the list's
// items.
const (
	childLevel = iota + 1
	propertyLevel
	listLevel
	itemLevel
)

// level returns the number of open elements inside rdf:RDF.
func (p *parser) level() int { return p.depth - p.rdf }

// refuse records that the packet cannot be edited.
func (p *parser) refuse(err error) {
	if p.out.refused == nil {
		p.out.refused = fmt.Errorf("%w: %w", ErrRefused, err)
	}
}

func (p *parser) read() error {
	for {
		p.start = int(p.dec.InputOffset())
		token, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read packet: %w", err)
		}
		p.end = int(p.dec.InputOffset())
		switch t := token.(type) {
		case xml.StartElement:
			if p.depth++; p.depth > MaxDepth {
				return errors.New("elements nested too deep")
			}
			p.open(t)
		case xml.EndElement:
			p.close()
		case xml.CharData:
			p.addProvenance(t)
			p.text(t)
		case xml.ProcInst:
			p.foreign = p.foreign || t.Target != "xpacket"
			p.noteForeign()
		case xml.Comment:
			p.foreign = true
			p.noteForeign()
		case xml.Directive:
			return errors.New("a declaration in the packet")
		}
	}
}

func (p *parser) text(t xml.CharData) {
	blank := len(bytes.TrimSpace(t)) == 0
	switch {
	case p.depth == 0 && !blank && string(bytes.TrimSpace(t)) != "\ufeff":
		p.refuse(errors.New("text outside the packet's element"))
	case p.depth == 0 && p.seenRoot:
		p.out.blanks = append(p.out.blanks, edit.Span{Start: p.start, End: p.end})
	case p.property.is():
		if !p.property.item && (!blank || p.level() == itemLevel) {
			p.noteForeign()
		}
		p.property.addText(t)
	case !blank:
		p.foreign = true
		p.noteForeign()
	}
}

// noteForeign records that the current description contains something that is not ours and must stay.
func (p *parser) noteForeign() {
	switch {
	case p.rdf == 0:
	case p.property.inside:
		p.property.odd = true
	case p.level() > 0:
		p.child.foreign = true
	}
}

func (p *parser) open(t xml.StartElement) {
	if p.rdf > 0 {
		p.openInside(t)
		return
	}
	isRDF := t.Name.Space == rdfNamespace && t.Name.Local == "RDF"
	switch {
	case isRDF && (p.seenRDF || p.depth > 2 || p.depth == 1 && p.seenRoot):
		p.refuse(errors.New("more than one rdf:RDF, or one in an odd place"))
	case isRDF:
		p.openRDF()
	case p.depth == 1 && !p.seenRoot && t.Name.Space == metaNamespace &&
		(t.Name.Local == "xmpmeta" || t.Name.Local == "xapmeta"):
	default:
		p.refuse(errors.New("an element other than x:xmpmeta and rdf:RDF"))
	}
	p.seenRoot = true
	if isRDF {
		p.seenRDF, p.rdf = true, p.depth
	}
}

func (p *parser) openRDF() {
	raw := p.out.src[p.start:p.end]
	tag, err := splitTag(raw)
	if err != nil {
		p.refuse(err)
		return
	}
	p.out.rdfName = tag.name
	p.out.inner = p.end
	if bytes.HasSuffix(raw, []byte("/>")) {
		p.out.unclosed = &edit.Span{Start: p.end - 2, End: p.end}
	}
}

// openInside handles the start of an element inside rdf:RDF.
func (p *parser) openInside(t xml.StartElement) {
	p.openProvenance(t)
	switch level := p.level(); level {
	case childLevel:
		p.child = childElement{
			Span:        edit.Span{Start: p.start},
			description: t.Name.Space == rdfNamespace && t.Name.Local == "Description",
		}
		p.readAttributes(t)
		return
	case propertyLevel:
		p.openProperty(t)
	default:
		if p.property.is() {
			p.property.open(p.start, level, t)
		}
		if !p.property.inside {
			p.noteForeign()
		}
	}
	p.notePlaces(t)
}

// openProperty handles the start of a property of a child of rdf:RDF.
func (p *parser) openProperty(t xml.StartElement) {
	name := known(t.Name)
	field, captions := captionField(name)
	ours := p.child.description && t.Name.Space == Namespace
	p.property = property{
		start: p.start, name: t.Name, known: name, field: field, captions: captions, inside: captions || ours,
		bare: !slices.ContainsFunc(t.Attr, meaningful), text: p.property.text[:0],
	}
	if !p.property.inside {
		p.child.foreign = true
	}
	if p.property.is() {
		p.property.valueAttribute(t)
	}
	// Ours have no attributes, but a list that another program wrote may have some.
	p.property.odd = captions && (len(t.Attr) > 0 || !p.child.description || !writes(t.Name))
}

// readAttributes reads the attributes of a child of rdf:RDF, which may be properties.
func (p *parser) readAttributes(t xml.StartElement) {
	for _, a := range t.Attr {
		p.out.keep(known(a.Name), []Value{{Text: a.Value[:min(len(a.Value), maxValue)]}})
	}
	if p.out.refused != nil {
		return
	}
	tag, err := splitTag(p.out.src[p.start:p.end])
	if err == nil && len(tag.attributes) != len(t.Attr) {
		err = errAttributes
	}
	if err != nil {
		p.refuse(err)
		return
	}
	for i, a := range t.Attr {
		at := shifted(tag.attributes[i], p.start)
		field, captions := captionField(known(a.Name))
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
		case a.Name.Local == "about" && (a.Name.Space == rdfNamespace || a.Name.Space == ""):
			p.child.about = clean(a.Value)
		case a.Name.Space == Namespace && p.child.description:
			p.child.cuts = append(p.child.cuts, cut{at, a.Name.Local})
			p.marks[a.Name.Local] = []string{a.Value}
		case captions:
			p.child.statements = append(p.child.statements, statement{
				Span: at, known: known(a.Name), field: field, values: statedBy(known(a.Name), []string{a.Value}),
				bare: true, once: writes(a.Name),
			})
		default:
			p.child.foreign = true
			if isPlace(a.Name) {
				p.out.places = append(p.out.places, at)
			}
		}
	}
}

func (p *parser) close() {
	level := p.level()
	p.depth--
	if p.rdf == 0 {
		return
	}
	if p.property.inner > 0 && p.property.inner == level {
		p.property.inner, p.property.valued = 0, true
	}
	p.closePlace(level)
	p.closeProvenance(level)
	switch level {
	case itemLevel:
		if p.property.item {
			p.property.endItem(edit.Span{Start: p.lineStart(p.property.begin), End: p.end})
		}
	case propertyLevel:
		p.closeProperty()
	case childLevel:
		p.closeChild()
	case 0:
		p.rdf = 0
	}
}

func (p *parser) closeChild() {
	p.child.End = p.end
	if len(p.out.children) == maxChildren {
		p.refuse(errors.New("too many descriptions"))
	}
	if p.out.refused == nil {
		p.out.children = append(p.out.children, p.child)
	}
}

// closeProperty records a property that matters, with its content.
func (p *parser) closeProperty() {
	current := &p.property
	if current.is() && !current.list {
		current.odd = true // we write lists
		current.endValue()
	}
	p.out.keep(current.known, current.values)
	at := edit.Span{Start: p.lineStart(current.start), End: p.end}
	switch {
	case !current.inside:
	case current.captions:
		p.child.statements = append(p.child.statements, current.state(at))
	default:
		p.child.cuts = append(p.child.cuts, cut{at, current.name.Local})
		p.marks[current.name.Local] = texts(current.values)
	}
	*current = property{text: current.text[:0]}
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
