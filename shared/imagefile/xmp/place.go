package xmp

import (
	"encoding/xml"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// placeElement is an element that contains a place, while it is read.
type placeElement struct{ start, level int } // level 0: none

// positionNamespaces contain only properties for positions: W3C's Basic Geo and GeoRSS.
var positionNamespaces = [...]string{"http://www.w3.org/2003/01/geo/wgs84_pos#", "http://www.georss.org/georss"}

// isPlace reports whether a property is a GPS position or describes one: the properties of EXIF, those of
// makers of cameras and drones, and those of namespaces for positions.
func isPlace(n xml.Name) bool {
	return len(n.Local) > 3 && strings.EqualFold(n.Local[:3], "gps") || slices.Contains(positionNamespaces[:], n.Space)
}

// notePlaces records the places in an element inside a description, in its content or in attributes. They may
// be nested in structures.
func (p *parser) notePlaces(t xml.StartElement) {
	if p.place.level > 0 || p.out.refused != nil {
		return
	}
	if isPlace(t.Name) {
		p.place = placeElement{p.start, p.level()}
		return
	}
	hasPlace := func(a xml.Attr) bool { return isPlace(a.Name) && a.Name.Space != "xmlns" }
	if !slices.ContainsFunc(t.Attr, hasPlace) {
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
		if hasPlace(a) {
			p.out.places = append(p.out.places, shifted(tag.attributes[i], p.start))
		}
	}
}

func (p *parser) closePlace(level int) {
	if p.place.level == 0 || p.place.level != level {
		return
	}
	p.out.places = append(p.out.places, edit.Span{Start: p.lineStart(p.place.start), End: p.end})
	p.place = placeElement{}
}
