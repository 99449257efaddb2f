package xmp

import (
	"encoding/xml"
	"slices"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// property is a property while it is read.
type property struct {
	start    int
	name     xml.Name
	known    string // name in the table of known properties
	field    pipeline.CaptionField
	captions bool // it states field
	inside   bool // it states a caption or is ours
	odd      bool // it differs from the form in which we write it
	bare     bool // it has no attributes that may have a meaning

	values   []Value
	list     bool // it contains a list, or elements in place of its value
	item     bool // an item of the list is open
	items    []item
	begin    int  // position of the open item
	inner    int  // level of the open rdf:value; 0: none
	valued   bool // the current value was an rdf:value, and all others are qualifiers
	language string
	text     []byte // the current value, which may arrive in several parts
}

// is reports whether a property that matters is open.
func (p *property) is() bool { return p.known != "" || p.inside }

// item is one item of a list: its text, and its place with the white space before it.
type item struct {
	edit.Span

	text     string
	language string
}

// open handles the start, at a position, of an element inside the property.
func (p *property) open(start, level int, t xml.StartElement) {
	isItem := level == itemLevel && t.Name.Space == rdfNamespace && t.Name.Local == "li"
	if level == itemLevel {
		p.item = isItem
	}
	if isItem {
		p.language, p.text, p.valued, p.begin = "", p.text[:0], false, start
	}
	switch {
	case !p.valued && t.Name == rdfValue:
		p.odd, p.list, p.inner, p.text = true, p.item, level, p.text[:0]
	case p.valueAttribute(t):
		p.odd = true
	case level == listLevel:
		// A structure is not a simple value either, and no known property is a structure.
		p.list = p.list || !p.valued
		p.odd = p.odd || t.Name.Space != rdfNamespace || len(t.Attr) > 0 || p.captions && t.Name.Local != listOf[p.field]
	case isItem:
		for _, a := range t.Attr {
			if a.Name.Space == xmlNamespace && a.Name.Local == "lang" {
				p.language = a.Value
			}
			p.odd = p.odd || listOf[p.field] != "Alt" || a.Name.Space != xmlNamespace
		}
	default:
		p.odd = true
	}
}

// valueAttribute takes the value from the attribute rdf:value of an element, which has the qualifiers of the value
// as its other attributes. It reports whether there is one.
func (p *property) valueAttribute(t xml.StartElement) bool {
	for _, a := range t.Attr {
		if a.Name == rdfValue && !p.valued {
			p.list, p.text = p.item, p.text[:0]
			p.addText([]byte(a.Value))
			p.valued = true
			return true
		}
	}
	return false
}

// addText adds to the current value. Text between the items of a list is not a value.
func (p *property) addText(text []byte) {
	if p.list && !p.item || p.valued {
		return
	}
	if room := maxValue - len(p.text); len(text) > room {
		text, p.odd = text[:room], true
	}
	p.text = append(p.text, text...)
}

// endValue ends the current value.
func (p *property) endValue() {
	if len(p.values) == maxValues {
		p.odd = true
		return
	}
	p.values = append(p.values, Value{string(p.text), p.language})
}

// endItem ends the open item of a list.
func (p *property) endItem(at edit.Span) {
	before := len(p.values)
	p.endValue()
	p.item = false
	for _, v := range p.values[min(before, len(p.values)):] {
		p.items = append(p.items, item{at, v.Text, v.Language})
	}
}

// statement is a property of a child that states a caption.
type statement struct {
	edit.Span

	known    string // name in the table of known properties
	field    pipeline.CaptionField
	values   []string // of a text in two languages that is equal in both, only one
	items    []item
	plain    bool   // written in our form, so it may be ours
	bare     bool   // without attributes that may have a meaning
	once     bool   // a property that we write, which a packet may have only once
	language string // of the second item
}

// state returns the statement of a property.
func (p *property) state(at edit.Span) statement {
	s := statement{
		Span: at, known: p.known, field: p.field, values: statedBy(p.known, texts(p.values)), items: p.items,
		plain: !p.odd, bare: p.bare, once: writes(p.name),
	}
	// We write a text in the default language first and then in the language of the model.
	if s.plain && listOf[s.field] == "Alt" && len(s.values) == 2 && s.values[0] == s.values[1] {
		s.values, s.language = s.values[:1], p.values[1].Language
	}
	return s
}

// writes reports whether we write a property.
func writes(n xml.Name) bool {
	return n.Space == dcNamespace || n.Space == iptcNamespace || n.Space == photoshopNamespace && n.Local == "CaptionWriter"
}

// inLevels reports whether a known property has keywords in levels.
func inLevels(known string) bool {
	return slices.ContainsFunc(hierarchies[:], func(h hierarchy) bool { return h.property == known })
}

// blank reports whether the statement says nothing.
func (s statement) blank() bool { return s.bare && pipeline.Blank(s.values) }

// statedBy returns the values of a property, without the upper levels of keywords.
func statedBy(known string, values []string) []string {
	if inLevels(known) {
		return leaves(keywordPaths(known, values))
	}
	return values
}

// captionField returns the field that a known property states. Keywords in levels count as keywords, and a headline
// as a title.
func captionField(known string) (pipeline.CaptionField, bool) {
	switch known {
	case "dc:title", "photoshop:Headline":
		return pipeline.Title, true
	case "dc:description":
		return pipeline.Description, true
	case "dc:subject":
		return pipeline.Keywords, true
	case "Iptc4xmpCore:AltTextAccessibility":
		return pipeline.AltText, true
	case "photoshop:CaptionWriter":
		return writer, true
	}
	return pipeline.Keywords, inLevels(known)
}

// meaningful reports whether an attribute of an empty property may have a meaning.
func meaningful(a xml.Attr) bool {
	return a.Name.Space != "xmlns" && a.Name.Space != xmlNamespace && a.Name.Local != "xmlns" && a.Name.Local != "parseType"
}
