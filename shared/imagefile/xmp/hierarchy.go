package xmp

import (
	"encoding/xml"
	"slices"
	"strings"
)

// hierarchy is a property with keywords in levels.
type hierarchy struct{ property, separator string }

// hierarchies are the properties with keywords in levels, and the separator of the levels.
var hierarchies = [...]hierarchy{
	{"lr:hierarchicalSubject", "|"},
	{"digiKam:TagsList", "/"},
	{"MicrosoftPhoto:LastKeywordXMP", "/"},
	{"MicrosoftPhoto:LastKeywordIPTC", "/"},
	{"mediapro:CatalogSets", "|"},
	{"acdsee:categories", ""}, // a text that is XML
	{"acdsee:Categories", ""},
}

// maxLevels bounds the levels of a keyword.
const maxLevels = 32

// KeywordPaths returns the keywords of all properties with levels, each as its levels from the root to the leaf.
func (p *Packet) KeywordPaths() [][]string {
	var all [][]string
	for _, h := range hierarchies {
		all = append(all, keywordPaths(h.property, p.Texts(h.property))...)
	}
	return all
}

// keywordPaths returns the levels of the values of a property; nil if its keywords have no levels.
func keywordPaths(property string, values []string) [][]string {
	var all [][]string
	for _, h := range hierarchies {
		if h.property != property {
			continue
		}
		for _, v := range values {
			if h.separator == "" {
				all = append(all, categories(v)...)
				continue
			}
			var path []string
			for level := range strings.SplitSeq(v, h.separator) {
				path = appendLevel(path, level)
			}
			if path != nil {
				all = append(all, path)
			}
		}
	}
	return all[:min(len(all), maxValues)]
}

// appendLevel appends a level to a path unless it is blank or too deep. It never changes the array of the path.
func appendLevel(path []string, level string) []string {
	if level = strings.TrimSpace(level); level == "" || len(path) == maxLevels {
		return path
	}
	return append(slices.Clip(path), level)
}

// categories returns the assigned categories of ACDSee. The value is XML whose nested elements are the levels:
//
//	<Categories><Category Assigned="0">Places<Category Assigned="1">Dresden</Category></Category></Categories>
//
// The categories before the first unreadable part are returned.
func categories(value string) [][]string {
	type element struct {
		name     string
		assigned bool
		parent   []string
		leaf     bool
	}
	var all [][]string
	var open []element
	dec := xml.NewDecoder(strings.NewReader(value))
	for len(all) < maxValues {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(open) > maxLevels {
				return all
			}
			e := element{assigned: true, leaf: t.Name.Local == "Category"}
			for _, a := range t.Attr {
				if a.Name.Local == "Assigned" {
					e.assigned = a.Value == "1"
				}
			}
			if n := len(open); n > 0 {
				e.parent = appendLevel(open[n-1].parent, open[n-1].name)
			}
			open = append(open, e)
		case xml.CharData:
			// The name of a category precedes the categories in it.
			if n := len(open); n > 0 && open[n-1].leaf && strings.TrimSpace(open[n-1].name) == "" {
				open[n-1].name = string(t)
			}
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			if path := appendLevel(e.parent, e.name); e.assigned && len(path) > len(e.parent) {
				all = append(all, path)
			}
		}
	}
	return all
}

// leaves returns the last level of each path.
func leaves(paths [][]string) []string {
	var out []string
	for _, path := range paths {
		out = append(out, path[len(path)-1])
	}
	return out
}
