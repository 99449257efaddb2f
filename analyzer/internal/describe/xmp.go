package describe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Limits for reading a packet. Its size is bounded by maxXMPBytes.
const (
	maxXMPDepth  = 100
	maxXMPValues = 256                     // values of each property that is read
	maxXMPValue  = 4 * maxDescriptionBytes // bytes kept of a value
)

// The namespaces of the properties that are read, and their prefixes in the table of properties (ISO 16684-1,
// and Exif in XMP, CIPA DC-010).
var xmpPrefixes = map[string]string{
	"http://purl.org/dc/elements/1.1/":                 "dc:",
	"http://ns.adobe.com/xap/1.0/":                     "xmp:",
	"http://ns.adobe.com/photoshop/1.0/":               "photoshop:",
	"http://ns.adobe.com/exif/1.0/":                    "exif:",
	"http://ns.adobe.com/exif/1.0/aux/":                "aux:",
	"http://cipa.jp/exif/1.0/":                         "exifEX:",
	"http://ns.adobe.com/tiff/1.0/":                    "tiff:",
	"https://github.com/imagebatch/imagebatch/ns/1.0/": "imagebatch:",
}

// xmpWanted lists the properties that are read.
var xmpWanted = map[string]bool{
	"dc:title": true, "dc:description": true, "dc:subject": true, "dc:creator": true, "dc:rights": true,
	"xmp:Rating": true, "xmp:CreatorTool": true, "photoshop:DateCreated": true,
	"exif:DateTimeOriginal": true, "exif:UserComment": true, "exif:GPSLatitude": true, "exif:GPSLongitude": true,
	"tiff:Make": true, "tiff:Model": true, "exifEX:LensModel": true, "aux:Lens": true,
	"imagebatch:composed": true, "imagebatch:composedDigests": true,
}

const (
	rdfNamespace = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
	xmlNamespace = "http://www.w3.org/XML/1998/namespace"
)

// readXMP reads the caption and the camera's metadata in a packet. Its time and memory are proportional to the
// size of the packet: it expands no entities, stops at a DOCTYPE, and keeps only the wanted values. The values
// before the first unreadable part are kept.
func readXMP(packet []byte, warned *warnings) embedded {
	if len(packet) == 0 {
		return embedded{}
	}
	if len(packet) > maxXMPBytes {
		warned.add("XMP: a packet of more than %d bytes is not read", maxXMPBytes)
		return embedded{}
	}
	// Some cameras end the packet with zeros, which XML does not allow.
	r := xmpReader{
		dec:    xml.NewDecoder(bytes.NewReader(bytes.TrimRight(packet, "\x00"))),
		values: map[string][]xmpValue{},
	}
	if err := r.read(); err != nil {
		warned.add("XMP: reading stopped: %v", err)
	}
	return r.embedded(warned)
}

// xmpReader walks over the tokens of a packet.
type xmpReader struct {
	dec    *xml.Decoder
	values map[string][]xmpValue

	depth    int
	rdf      int    // depth of rdf:RDF; 0 outside
	property string // current property if it is wanted, else ""
	list     bool   // the property contains a list
	item     bool   // an item of the list is open
	language string // language of the item
	text     []byte
}

// xmpValue is a simple value, or an item of a list.
type xmpValue struct {
	text     string
	language string
}

func (r *xmpReader) read() error {
	for {
		token, err := r.dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read packet: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if r.depth++; r.depth > maxXMPDepth {
				return errors.New("elements nested too deep")
			}
			r.open(t)
		case xml.EndElement:
			r.close()
			r.depth--
		case xml.CharData:
			if r.property != "" {
				r.text = append(r.text, t[:min(len(t), maxXMPValue-len(r.text))]...)
			}
		case xml.Directive:
			return errors.New("a declaration in the packet")
		}
	}
}

// open handles the start of an element. Inside rdf:RDF the levels are a description, its property, a list that
// is the property's value, and the list's items.
func (r *xmpReader) open(t xml.StartElement) {
	if r.rdf == 0 {
		if t.Name.Space == rdfNamespace && t.Name.Local == "RDF" {
			r.rdf = r.depth
		}
		return
	}
	switch r.depth - r.rdf {
	case 1:
		// A description may have simple values as attributes.
		for _, a := range t.Attr {
			r.keep(wantedProperty(a.Name), xmpValue{text: a.Value})
		}
	case 2:
		r.property, r.list, r.text = wantedProperty(t.Name), false, r.text[:0]
	case 3:
		// A structure is not a simple value either, and we want no structures.
		r.list = true
	case 4:
		r.item = r.property != "" && t.Name.Space == rdfNamespace && t.Name.Local == "li"
		if r.item {
			r.language, r.text = "", r.text[:0]
			for _, a := range t.Attr {
				if a.Name.Space == xmlNamespace && a.Name.Local == "lang" {
					r.language = strings.ToLower(a.Value)
				}
			}
		}
	}
}

func (r *xmpReader) close() {
	if r.rdf == 0 {
		return
	}
	switch r.depth - r.rdf {
	case 0:
		r.rdf = 0
	case 2:
		if !r.list {
			r.keep(r.property, xmpValue{text: string(r.text)})
		}
		r.property = ""
	case 4:
		if r.item {
			r.keep(r.property, xmpValue{string(r.text), r.language})
		}
		r.item = false
	}
}

func (r *xmpReader) keep(property string, v xmpValue) {
	if property == "" || len(r.values[property]) >= maxXMPValues {
		return
	}
	v.text = v.text[:min(len(v.text), maxXMPValue)]
	r.values[property] = append(r.values[property], v)
}

func wantedProperty(name xml.Name) string {
	if prefix, ok := xmpPrefixes[name.Space]; ok && xmpWanted[prefix+name.Local] {
		return prefix + name.Local
	}
	return ""
}

// one returns the value of a property: of several languages the default one, or else the first.
func (r *xmpReader) one(property string) string {
	values := r.values[property]
	for _, v := range values {
		if v.language == "x-default" {
			return strings.TrimSpace(v.text)
		}
	}
	if len(values) == 0 {
		return ""
	}
	return strings.TrimSpace(values[0].text)
}

func (r *xmpReader) all(property string) []string {
	var out []string
	for _, v := range r.values[property] {
		out = append(out, strings.TrimSpace(v.text))
	}
	return out
}

// embedded converts the values.
func (r *xmpReader) embedded(warned *warnings) embedded {
	b := embedded{
		title: r.one("dc:title"), description: r.one("dc:description"), keywords: r.all("dc:subject"),
		creators: r.all("dc:creator"), copyright: r.one("dc:rights"),
		comment: clean(r.one("exif:UserComment"), maxTextBytes),
		exif: pipeline.Exif{
			CameraMake: clean(r.one("tiff:Make"), maxTextBytes), CameraModel: clean(r.one("tiff:Model"), maxTextBytes),
			Software: clean(r.one("xmp:CreatorTool"), maxTextBytes),
			GPS:      r.place(warned),
		},
		marks: marks{},
	}
	if rating := r.one("xmp:Rating"); rating != "" {
		stars, err := strconv.ParseFloat(rating, 64)
		if err != nil {
			warned.add("XMP xmp:Rating: %q is no number", rating)
		}
		b.rating = ratingOf(stars)
	}
	for _, property := range [...]string{"exifEX:LensModel", "aux:Lens"} {
		if b.exif.LensModel == "" {
			b.exif.LensModel = clean(r.one(property), maxTextBytes)
		}
	}
	for _, property := range [...]string{"exif:DateTimeOriginal", "photoshop:DateCreated"} {
		at := r.one(property)
		if b.exif.TakenAt == "" {
			b.exif.TakenAt = isoTime(at)
		}
		// XMP allows a date alone, but it is not precise enough.
		if at != "" && len(at) > len(time.DateOnly) && isoTime(at) == "" {
			warned.add("XMP %s: %q is no time", property, at)
		}
	}
	digests := r.all("imagebatch:composedDigests")
	for i, field := range r.all("imagebatch:composed") {
		if i < len(digests) {
			b.marks[field] = digests[i]
		}
	}
	return b
}

// place returns where the image was taken, if both coordinates can be read.
func (r *xmpReader) place(warned *warnings) *pipeline.GPS {
	latitude, longitude := r.one("exif:GPSLatitude"), r.one("exif:GPSLongitude")
	if latitude == "" || longitude == "" {
		return nil
	}
	north, ok := xmpCoordinate(latitude, "N", "S", 90)
	east, okEast := xmpCoordinate(longitude, "E", "W", 180)
	if !ok || !okEast {
		warned.add("XMP exif:GPSLatitude, exif:GPSLongitude: they are no place")
		return nil
	}
	return &pipeline.GPS{Latitude: round(north, 6), Longitude: round(east, 6)}
}

// xmpCoordinate reads "51,30.5N" or "51,30,30N", in degrees.
func xmpCoordinate(s, positive, negative string, limit float64) (degrees float64, ok bool) {
	sign := 1.0
	digits, ok := strings.CutSuffix(s, positive)
	if !ok {
		if digits, ok = strings.CutSuffix(s, negative); !ok {
			return 0, false
		}
		sign = -1
	}
	parts := strings.Split(digits, ",")
	if len(parts) > 3 {
		return 0, false
	}
	unit := 1.0
	for i, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v >= 0) || i > 0 && v >= 60 || math.IsInf(v, 0) {
			return 0, false
		}
		degrees += v / unit
		unit *= 60
	}
	return sign * degrees, degrees <= limit
}
