package xmp

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"strings"
)

// isManifest reports whether a value of dcterms:provenance is a link to a manifest of Content Credentials (C2PA
// Technical Specification, "Embedding a reference to an external manifest"): a URL, or a reference to a JUMBF box of the
// file. Museums and archives write the history of an object into the same property.
func isManifest(value string) bool {
	value = strings.TrimSpace(value)
	if hasPrefixFold(value, "self#jumbf=") {
		return true
	}
	return (hasPrefixFold(value, "http://") || hasPrefixFold(value, "https://")) && !strings.ContainsAny(value, " \t\r\n")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// manifestLink is a property dcterms:provenance with a link, in text that is not parsed.
var manifestLink = regexp.MustCompile(`provenance\s*(?:=\s*["']|[^<>]{0,200}\bresource\s*=\s*["']|[^<>]{0,200}>)\s*(?i:self#jumbf=|https?://)[^\s<"']*\s*[<"']`)

// MentionsProvenance reports whether the data may refer to Content Credentials.
func MentionsProvenance(text []byte) bool {
	return bytes.Contains(text, []byte(dctermsNamespace)) && manifestLink.Match(text)
}

// provenanceElement is an element dcterms:provenance while it is read. Its value may be its text, an item of a list, or
// an attribute.
type provenanceElement struct {
	level int // 0: none
	text  []byte
}

// openProvenance handles the start of an element.
func (p *parser) openProvenance(t xml.StartElement) {
	if t.Name == provenance && p.provenance.level == 0 {
		p.provenance.level = p.level()
	}
	p.endProvenanceText()
	for _, a := range t.Attr {
		if a.Name == provenance || p.provenance.level > 0 {
			p.out.provenance = p.out.provenance || isManifest(a.Value)
		}
	}
}

func (p *parser) addProvenance(text []byte) {
	if room := maxValue - len(p.provenance.text); p.provenance.level > 0 {
		p.provenance.text = append(p.provenance.text, text[:min(len(text), room)]...)
	}
}

func (p *parser) closeProvenance(level int) {
	if p.provenance.level == 0 {
		return
	}
	p.endProvenanceText()
	if p.provenance.level == level {
		p.provenance.level = 0
	}
}

func (p *parser) endProvenanceText() {
	p.out.provenance = p.out.provenance || isManifest(string(p.provenance.text))
	p.provenance.text = p.provenance.text[:0]
}
