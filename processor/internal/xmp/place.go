package xmp

import (
	"encoding/xml"
	"errors"
	"slices"
	"strings"
)

// placeElement is an element that contains a place, while it is read.
type placeElement struct{ start, depth int } // depth 0: none

// positionNamespaces contain only properties for positions: W3C's Basic Geo and GeoRSS.
var positionNamespaces = [...]string{"http://www.w3.org/2003/01/geo/wgs84_pos#", "http://www.georss.org/georss"}

// isPlace reports whether a property is a GPS position or describes one: the properties of EXIF, those of
// makers of cameras and drones, and those of namespaces for positions.
func isPlace(n xml.Name) bool {
	return len(n.Local) > 3 && strings.EqualFold(n.Local[:3], "gps") || slices.Contains(positionNamespaces[:], n.Space)
}

// notePlaces records the places in an element inside a description, in its content or in attributes. They may
// be nested in structures.
func (p *parser) notePlaces(t xml.StartElement) error {
	if p.place.depth > 0 {
		return nil
	}
	if isPlace(t.Name) {
		p.place = placeElement{p.start, p.rdfDepth}
		return nil
	}
	hasPlace := func(a xml.Attr) bool { return isPlace(a.Name) && a.Name.Space != "xmlns" }
	if !slices.ContainsFunc(t.Attr, hasPlace) {
		return nil
	}
	tag, err := splitTag(p.out.src[p.start:p.end])
	if err != nil {
		return err
	}
	if len(tag.attributes) != len(t.Attr) {
		return errors.New("two readers count different attributes")
	}
	for i, a := range t.Attr {
		if hasPlace(a) {
			p.out.places = append(p.out.places, span{p.start + tag.attributes[i].start, p.start + tag.attributes[i].end})
		}
	}
	return nil
}

func (p *parser) closePlace() {
	if p.place.depth != p.rdfDepth {
		return
	}
	p.out.places = append(p.out.places, span{p.lineStart(p.place.start), p.end})
	p.place = placeElement{}
}
