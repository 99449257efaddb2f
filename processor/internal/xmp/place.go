package xmp

import (
	"encoding/xml"
	"errors"
	"slices"
	"strings"
)

// placeElement is an element that tells a place, while it is read.
type placeElement struct{ start, depth int } // depth 0: none

// positionNamespaces have properties that tell positions and nothing else: W3C's
// Basic Geo and GeoRSS.
var positionNamespaces = [...]string{"http://www.w3.org/2003/01/geo/wgs84_pos#", "http://www.georss.org/georss"}

// isPlace tells whether a property is a GPS position, or tells about one: those
// of EXIF's, those that makers of cameras and drones invented, and those of
// namespaces that have no others.
func isPlace(n xml.Name) bool {
	return len(n.Local) > 3 && strings.EqualFold(n.Local[:3], "gps") || slices.Contains(positionNamespaces[:], n.Space)
}

// notePlaces notes what an element inside a description tells of a place, by
// itself or in attributes. They may lie deep in structures.
func (p *parser) notePlaces(t xml.StartElement) error {
	if p.place.depth > 0 {
		return nil
	}
	if isPlace(t.Name) {
		p.place = placeElement{p.start, p.rdfDepth}
		return nil
	}
	told := func(a xml.Attr) bool { return isPlace(a.Name) && a.Name.Space != "xmlns" }
	if !slices.ContainsFunc(t.Attr, told) {
		return nil
	}
	tag, err := splitTag(p.out.src[p.start:p.end])
	if err != nil {
		return err
	}
	if len(tag.attributes) != len(t.Attr) {
		return errors.New("attributes that two readers count differently")
	}
	for i, a := range t.Attr {
		if told(a) {
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
