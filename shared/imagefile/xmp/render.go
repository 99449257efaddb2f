package xmp

import (
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// packetID is the same in every XMP packet.
	packetHeader  = "<?xpacket begin=\"\ufeff\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
	packetTrailer = "<?xpacket end=\"w\"?>"

	// lead precedes our description. It is removed together with it, so that a second merge finds the same
	// bytes as the first one.
	lead = "\n  "

	usualPacket = 4 << 10 // bytes; a longer one takes a second allocation
)

// New returns a complete packet with d only. It has no padding, because programs that edit the file later
// rewrite the packet anyway.
func New(d Description) []byte {
	var b strings.Builder
	b.Grow(usualPacket)
	b.WriteString(packetHeader)
	b.WriteString(`<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Imagebatch">` + "\n")
	b.WriteString(` <rdf:RDF xmlns:rdf="` + rdfNamespace + `">`)
	b.WriteString(lead)
	d.write(&b, "", true)
	b.WriteString("\n </rdf:RDF>\n</x:xmpmeta>\n")
	b.WriteString(packetTrailer)
	return []byte(b.String())
}

// write writes d as one rdf:Description with the subject of the packet. declared means that the prefix rdf is
// already bound.
func (d Description) write(b *strings.Builder, about string, declared bool) {
	b.WriteString(`<rdf:Description rdf:about="`)
	escape(b, about)
	b.WriteByte('"')
	if !declared {
		b.WriteString("\n    xmlns:rdf=\"" + rdfNamespace + `"`)
	}
	for _, n := range prefixes {
		if slices.ContainsFunc(d.properties, func(p Property) bool { return p.Prefix == n.prefix }) {
			put(b, "\n    xmlns:", n.prefix, `="`, n.namespace, `"`)
		}
	}
	b.WriteString("\n    xmlns:" + Prefix + `="` + Namespace + `"`)
	lists := 0
	for _, p := range d.properties {
		if p.List != "" {
			lists++
			continue
		}
		put(b, "\n    ", p.Prefix, ":", p.Name, `="`)
		escape(b, p.Value)
		b.WriteByte('"')
	}
	if lists == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	for _, p := range d.properties {
		if p.List != "" {
			p.writeList(b)
		}
	}
	b.WriteString("\n  </rdf:Description>")
}

func (p Property) writeList(b *strings.Builder) {
	put(b, "\n   <", p.Prefix, ":", p.Name, ">\n    <rdf:", p.List, ">")
	for i, v := range p.Values {
		switch {
		case p.List != "Alt":
			b.WriteString("\n     <rdf:li>")
		case i == 0:
			b.WriteString("\n     <rdf:li xml:lang=\"" + defaultLanguage + "\">")
		default:
			b.WriteString("\n     <rdf:li xml:lang=\"")
			escape(b, p.Language)
			b.WriteString("\">")
		}
		escape(b, v)
		b.WriteString("</rdf:li>")
	}
	put(b, "\n    </rdf:", p.List, ">\n   </", p.Prefix, ":", p.Name, ">")
}

func put(b *strings.Builder, parts ...string) {
	for _, part := range parts {
		b.WriteString(part)
	}
}

// escapes replaces the characters that are not allowed in an attribute or in an element.
var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")

// escape writes text in a form that is valid in an attribute and in an element.
func escape(b *strings.Builder, text string) {
	_, _ = escapes.WriteString(b, text) // a Builder never fails
}

// clean removes the characters that XML 1.0 does not allow (section 2.2, production Char), escaped or not.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r',
			r >= 0x20 && r <= 0xd7ff,
			r >= 0xe000 && r < utf8.RuneError,
			r >= 0x10000:
			return r
		default:
			return -1
		}
	}, text)
}
