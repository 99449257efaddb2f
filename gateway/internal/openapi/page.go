package openapi

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed page.html
var pageText string

// Style is the style sheet of the page, docs.css.
//
//go:embed docs.css
var Style []byte

// render returns the page of a description.
func render(root *yaml.Node) ([]byte, error) {
	page, err := template.New("page").Funcs(template.FuncMap{"prose": prose, "limits": limits}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, value{root: root.Content[0], node: root.Content[0]})
	return b.Bytes(), err
}

// value is a part of the description. The zero value is an absent part.
type value struct{ root, node *yaml.Node }

// member is a member of a mapping.
type member struct {
	Name  string
	Value value
}

// Get returns the member with this name, or an absent part.
func (v value) Get(name string) value {
	for _, m := range v.Members() {
		if m.Name == name {
			return m.Value
		}
	}
	return value{root: v.root}
}

// Members returns the members of a mapping in their order.
func (v value) Members() (list []member) {
	if v.node != nil && v.node.Kind == yaml.MappingNode {
		for i := 0; i < len(v.node.Content); i += 2 {
			list = append(list, member{v.node.Content[i].Value, value{v.root, v.node.Content[i+1]}})
		}
	}
	return list
}

// Elements returns the elements of an array.
func (v value) Elements() (list []value) {
	if v.node != nil && v.node.Kind == yaml.SequenceNode {
		for _, n := range v.node.Content {
			list = append(list, value{v.root, n})
		}
	}
	return list
}

// Exists reports whether the part is not absent.
func (v value) Exists() bool { return v.node != nil }

// String returns the text of a scalar, or nothing.
func (v value) String() string {
	if v.node == nil || v.node.Kind != yaml.ScalarNode {
		return ""
	}
	return v.node.Value
}

// Lists reports whether the part is an array that contains the text.
func (v value) Lists(text string) bool {
	return slices.ContainsFunc(v.Elements(), func(e value) bool { return e.String() == text })
}

// Ref returns the name of the component that the part refers to, or nothing.
func (v value) Ref() string {
	if ref := v.Get("$ref").String(); ref != "" {
		return path.Base(ref)
	}
	return ""
}

// Resolved returns the component that the part refers to, or the part itself.
func (v value) Resolved() value {
	ref, ok := strings.CutPrefix(v.Get("$ref").String(), "#/")
	if !ok {
		return v
	}
	v.node = v.root
	for name := range strings.SplitSeq(ref, "/") {
		v = v.Get(name)
	}
	return v
}

// JSON returns the part as indented JSON.
func (v value) JSON() (string, error) {
	data, err := toJSON(v.node)
	return string(data), err
}

// operation is an operation of a path or of a webhook.
type operation struct {
	value
	Method, Path string
	Parameters   []value // of the path and of the operation
}

// Operations returns the operations with the tag, or all if the tag is empty.
func (v value) Operations(tag string) (list []operation) {
	for _, item := range v.Members() {
		for _, m := range item.Value.Members() {
			if !slices.Contains([]string{"get", "put", "post", "delete", "patch"}, m.Name) || tag != "" && !m.Value.Get("tags").Lists(tag) {
				continue
			}
			parameters := append(item.Value.Get("parameters").Elements(), m.Value.Get("parameters").Elements()...)
			list = append(list, operation{m.Value, strings.ToUpper(m.Name), item.Name, parameters})
		}
	}
	return list
}

// limits returns the constraints of a schema as text.
func limits(schema value) string {
	var list []string
	for _, m := range schema.Members() {
		switch text := m.Value.String(); m.Name {
		case "const":
			list = append(list, "always "+text)
		case "enum":
			var names []string
			for _, e := range m.Value.Elements() {
				names = append(names, e.String())
			}
			list = append(list, "one of "+strings.Join(names, ", "))
		case "minimum":
			list = append(list, "at least "+text)
		case "maximum":
			list = append(list, "at most "+text)
		case "minLength", "maxLength":
			list = append(list, m.Name[:3]+"imum length "+text)
		case "minItems", "maxItems", "maxProperties":
			list = append(list, m.Name[:3]+"imum number "+text)
		case "pattern":
			list = append(list, "matches "+text)
		case "default":
			if text == "" {
				for _, e := range m.Value.Elements() {
					text += "," + e.String()
				}
			}
			list = append(list, "default "+strings.TrimPrefix(text, ","))
		}
	}
	return strings.Join(list, "; ")
}

var (
	code = regexp.MustCompile("`([^`]+)`")
	link = regexp.MustCompile(`\[([^\]]+)\]\((https?://[^)\s]+)\)`)
)

// prose returns a text in the subset of CommonMark as HTML.
func prose(text value) template.HTML {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text.String()), "\n\n") {
		block = html.EscapeString(block)
		block = link.ReplaceAllString(code.ReplaceAllString(block, "<code>$1</code>"), `<a href="$2">$1</a>`)
		switch first, rest, _ := strings.Cut("\n"+block, "\n- "); {
		case strings.TrimSpace(block) == "":
		case first == "":
			fmt.Fprintf(&b, "<ul><li>%s</li></ul>\n", strings.ReplaceAll(rest, "\n- ", "</li>\n<li>"))
		default:
			fmt.Fprintf(&b, "<p>%s</p>\n", block)
		}
	}
	return template.HTML(b.String()) //nolint:gosec // the text is ours, and escaped
}
