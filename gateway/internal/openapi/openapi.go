// Package openapi is the description of the API, in the OpenAPI format, and the page that shows
// it to people. openapi.yaml is the source of both. It also has the JSON Schema of the records,
// which the tests of the processor generate. docs/openapi.yaml and docs/metadata.schema.json are
// links to the files of this package, because a package can embed only files of its own folder.
//
// The description has the order of its source in every form. It names the base path of the
// gateway, and nothing else in it depends on the configuration. The tests of
// deployments/standalone compare it with what the gateway does.
//
// The package parses YAML with go.yaml.in/yaml, which the tests also use. It implements only as
// much of CommonMark as the texts of openapi.yaml use: paragraphs, lists, code and links.
package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var source []byte

//go:embed metadata.schema.json
var recordSchema []byte

// RecordSchema returns the JSON Schema of the records. The caller must not change it.
func RecordSchema() []byte { return recordSchema }

// Description is the description in all its forms.
type Description struct {
	YAML, JSON []byte
	Page       []byte // HTML, with links relative to the base path
}

// New returns the description of a gateway that serves the API below the base path, which may be
// empty.
func New(basePath string) (*Description, error) {
	d := &Description{YAML: source}
	if basePath != "" {
		const server = "\nservers:\n  - url: /\n"
		d.YAML = bytes.Replace(source, []byte(server), []byte("\nservers:\n  - url: "+basePath+"\n"), 1)
		if bytes.Equal(d.YAML, source) {
			return nil, errors.New("openapi.yaml does not name the server as expected")
		}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(d.YAML, &root); err != nil {
		return nil, fmt.Errorf("parse openapi.yaml: %w", err)
	}
	var err error
	if d.JSON, err = toJSON(&root); err != nil {
		return nil, err
	}
	d.Page, err = render(&root)
	return d, err
}

// toJSON returns indented JSON with the order of the node.
func toJSON(n *yaml.Node) ([]byte, error) {
	compact, err := appendJSON(nil, n)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, append(compact, '\n'), "", "  ")
	return b.Bytes(), err
}

func appendJSON(b []byte, n *yaml.Node) ([]byte, error) {
	var err error
	switch n.Kind {
	case yaml.DocumentNode:
		return appendJSON(b, n.Content[0])
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			name, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return nil, err
			}
			b = append(append(append(b, "{,"[min(i, 1)]), name...), ':')
			if b, err = appendJSON(b, n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		if len(n.Content) == 0 {
			b = append(b, '{')
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, element := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, element); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case yaml.ScalarNode:
		if tag := n.ShortTag(); (tag == "!!int" || tag == "!!float") && json.Valid([]byte(n.Value)) {
			return append(b, n.Value...), nil // 50.0 stays 50.0
		}
		var value any
		if err := n.Decode(&value); err != nil {
			return nil, err
		}
		data, err := json.Marshal(value)
		return append(b, data...), err
	case yaml.AliasNode:
	}
	return nil, fmt.Errorf("line %d: want a mapping, a sequence or a scalar", n.Line)
}
