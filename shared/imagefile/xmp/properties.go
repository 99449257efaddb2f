package xmp

import (
	"encoding/xml"
	"strings"
)

const (
	rdfNamespace       = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
	xmlNamespace       = "http://www.w3.org/XML/1998/namespace"
	metaNamespace      = "adobe:ns:meta/"
	dcNamespace        = "http://purl.org/dc/elements/1.1/"
	dctermsNamespace   = "http://purl.org/dc/terms/"
	lightroomNamespace = "http://ns.adobe.com/lightroom/1.0/"
	photoshopNamespace = "http://ns.adobe.com/photoshop/1.0/"
	iptcNamespace      = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
)

// rdfValue is the value of a property or an item that has qualifiers.
var rdfValue = xml.Name{Space: rdfNamespace, Local: "value"}

// provenance refers to Content Credentials that are stored elsewhere.
var provenance = xml.Name{Space: dctermsNamespace, Local: "provenance"}

// The properties whose values are kept, by prefix as their namespaces recommend it (ISO 16684-1, and Exif in
// XMP, CIPA DC-010). Add a property here to read it with [Packet.Text] or [Packet.Texts].
var knownProperties = []struct {
	namespace, prefix string
	names             []string
}{
	{dcNamespace, "dc:", []string{"title", "description", "subject", "creator", "rights"}},
	{lightroomNamespace, "lr:", []string{"hierarchicalSubject"}},
	{"http://www.digikam.org/ns/1.0/", "digiKam:", []string{"TagsList"}},
	{"http://ns.microsoft.com/photo/1.0/", "MicrosoftPhoto:", []string{"LastKeywordXMP", "LastKeywordIPTC"}},
	{"http://ns.microsoft.com/photo/1.0", "MicrosoftPhoto:", []string{"LastKeywordXMP", "LastKeywordIPTC"}},
	{"http://ns.iview-multimedia.com/mediapro/1.0/", "mediapro:", []string{"CatalogSets"}},
	{"http://ns.acdsee.com/iptc/1.0/", "acdsee:", []string{"categories", "Categories"}},
	{"http://ns.adobe.com/xap/1.0/", "xmp:", []string{"Rating", "CreatorTool"}},
	{photoshopNamespace, "photoshop:", []string{"DateCreated", "Headline", "CaptionWriter"}},
	{iptcNamespace, "Iptc4xmpCore:", []string{"AltTextAccessibility"}},
	{"http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "Iptc4xmpExt:", []string{"DigitalSourceType", "AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "AIPromptWriterName"}},
	{"http://ns.adobe.com/exif/1.0/", "exif:", []string{"DateTimeOriginal", "UserComment", "GPSLatitude", "GPSLatitudeRef", "GPSLongitude", "GPSLongitudeRef", "GPSStatus"}},
	{"http://ns.adobe.com/exif/1.0/aux/", "aux:", []string{"Lens"}},
	{"http://cipa.jp/exif/1.0/", "exifEX:", []string{"LensModel"}},
	{"http://ns.adobe.com/tiff/1.0/", "tiff:", []string{"Make", "Model"}},
}

var knownNames = func() map[xml.Name]string {
	names := map[xml.Name]string{}
	for _, p := range knownProperties {
		for _, name := range p.names {
			names[xml.Name{Space: p.namespace, Local: name}] = p.prefix + name
		}
	}
	return names
}()

// known returns the name of a property whose values are kept, or "".
func known(n xml.Name) string { return knownNames[n] }

// Value is a simple value, or an item of a list.
type Value struct {
	Text     string
	Language string // xml:lang
}

// keep adds values of a known property.
func (p *Packet) keep(name string, values []Value) {
	if name == "" {
		return
	}
	all := p.values[name]
	p.values[name] = append(all, values[:min(len(values), maxValues-len(all))]...)
}

// Text returns the value of a property, such as "dc:title": of several languages the default one, or else the
// first. Blank values do not count: some programs write the default language without a text.
func (p *Packet) Text(property string) string {
	text := ""
	for _, v := range p.values[property] {
		switch {
		case strings.TrimSpace(v.Text) == "":
		case strings.EqualFold(v.Language, defaultLanguage):
			return v.Text
		case text == "":
			text = v.Text
		}
	}
	return text
}

// Texts returns all values of a property.
func (p *Packet) Texts(property string) []string { return texts(p.values[property]) }

func texts(values []Value) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.Text)
	}
	return out
}
