package outputs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const schemaFile = "../../../docs/metadata.schema.json"

// decoded decodes JSON for the validator, which needs unchanged numbers.
func decoded(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return v
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRecordsKeepTheSchema validates the record in the documentation and one record of each golden analysis,
// and verifies that the schema rejects invalid records.
func TestRecordsKeepTheSchema(t *testing.T) {
	s := schema(t)
	_, example, _ := strings.Cut(documentation(t), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	if err := s.Validate(decoded(t, []byte(example))); err != nil {
		t.Errorf("the example: %v", err)
	}

	text, err := os.ReadFile("../../../shared/pipeline/testdata/v1/analysis.json")
	if err != nil {
		t.Fatal(err)
	}
	var a pipeline.Analysis
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	r := newRecord(a, embed.File{
		Data: []byte("a file"), ContentType: "image/jpeg", XMP: embed.Merged, EXIF: embed.Filled, IPTC: embed.None,
	}, Options{})
	record, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(decoded(t, record)); err != nil {
		t.Errorf("%v\n%s", err, record)
	}

	for what, broken := range map[string]string{
		"without a title":               strings.Replace(example, `"title"`, `"titel"`, 1),
		"with an unknown field":         strings.Replace(example, `"format"`, `"something": 1, "format"`, 1),
		"with an unknown flag":          strings.Replace(example, `"blurred"`, `"nice"`, 1),
		"with an impossible brightness": strings.Replace(example, `"brightness": 0.`, `"brightness": 1.`, 1),
		"with a color name":             strings.Replace(example, `"#8fa9bf"`, `"blue"`, 1),
		"without its processed file":    strings.Replace(example, `"processed"`, `"prozessed"`, 1),
	} {
		if broken == example {
			t.Fatalf("the record %s equals the example", what)
		}
		if err := s.Validate(decoded(t, []byte(broken))); err == nil {
			t.Errorf("the schema accepts a record %s", what)
		}
	}
}

// TestSchemaMatchesTheTags verifies that the schema is the one that the struct tags define; -update writes it.
func TestSchemaMatchesTheTags(t *testing.T) {
	root := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "The record that Imagebatch stores beside a processed image"},
		{"description", "docs/metadata.md explains each field. Lengths are bounds on characters; the analyzer bounds bytes, which are no fewer."},
		{"$ref", "#/$defs/analysis"},
	}
	root = append(root, structSchema(t, reflect.TypeFor[Record]())...)
	root = append(root, member{"unevaluatedProperties", false})
	var defs object
	for _, d := range definitions {
		schema := structSchema(t, d.of)
		switch d.name {
		case "analysis": // the record has more fields
			schema = append(schema, member{"description", "What the analyzer found in the original."})
		case "exif":
			schema = append(schema, member{"additionalProperties", false}, member{"minProperties", 1})
		default:
			schema = append(schema, member{"additionalProperties", false})
		}
		defs = append(defs, member{d.name, schema})
	}
	text, err := json.Marshal(append(root, member{"$defs", defs}))
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	checkGenerated(t, schemaFile, indented.String()+"\n")
}

// definitions are the structs of the record.
var definitions = []struct {
	name string
	of   reflect.Type
}{
	{"analysis", reflect.TypeFor[pipeline.Metadata]()},
	{"exif", reflect.TypeFor[pipeline.Exif]()},
	{"caption", reflect.TypeFor[pipeline.Caption]()},
	{"made_by_ai", reflect.TypeFor[pipeline.MadeByAI]()},
	{"gps", reflect.TypeFor[pipeline.GPS]()},
	{"color", reflect.TypeFor[pipeline.ColorShare]()},
	{"processed", reflect.TypeFor[Processed]()},
	{"thumbnail", reflect.TypeFor[Thumbnail]()},
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", m.name)
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// structSchema returns the schema of a struct. Fields that may be omitted are not required.
func structSchema(t *testing.T, of reflect.Type) object {
	required := []string{}
	var properties object
	for f := range of.Fields() {
		if f.Anonymous { // has a definition of its own
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if option == "" {
			required = append(required, name)
		}
		properties = append(properties, member{name, append(fieldSchema(t, f.Type, f.Tag.Get("range")), described(f.Tag)...)})
	}
	return object{{"type", "object"}, {"required", required}, {"properties", properties}}
}

// described returns the description of a field: a sentence about its meaning, and one about its unit. A field whose
// type has a definition may have none.
func described(tag reflect.StructTag) object {
	var text strings.Builder
	for _, part := range []string{tag.Get("doc"), tag.Get("unit")} {
		if part == "" {
			continue
		}
		part = strings.TrimSuffix(part, ", see below") // in docs/metadata.md
		first, size := utf8.DecodeRuneInString(part)
		text.WriteString(" " + string(unicode.ToUpper(first)) + part[size:] + ".")
	}
	if text.Len() == 0 {
		return nil
	}
	return object{{"description", text.String()[1:]}}
}

// fieldSchema returns the schema of a field with its range.
func fieldSchema(t *testing.T, of reflect.Type, valid string) object {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	low, high, isRange := strings.Cut(valid, "..")
	switch kind := of.Kind(); {
	case kind == reflect.Struct:
		for _, d := range definitions {
			if d.of == of {
				return object{{"$ref", "#/$defs/" + d.name}}
			}
		}
		t.Fatalf("%s has no definition", of)
	case kind == reflect.Slice || kind == reflect.Array:
		valid, items, _ := strings.Cut(valid, " of ")
		valid, unique := strings.CutPrefix(valid, "unique ")
		low, high, _ := strings.Cut(valid, "..")
		s := bounds(object{{"type", "array"}, {"items", fieldSchema(t, of.Elem(), items)}}, "minItems", low, "maxItems", high)
		if unique {
			s = append(s, member{"uniqueItems", true})
		}
		return s
	case kind == reflect.Bool:
		return object{{"type", "boolean"}}
	case kind == reflect.String && strings.HasPrefix(valid, "/"):
		return object{{"type", "string"}, {"pattern", strings.Trim(valid, "/")}}
	case kind == reflect.String && valid != "" && !isRange:
		return object{{"enum", strings.Split(valid, "|")}}
	case kind == reflect.String:
		return bounds(object{{"type", "string"}}, "minLength", low, "maxLength", high)
	case strings.Contains(valid, "|"):
		return object{{"enum", json.RawMessage("[" + strings.ReplaceAll(valid, "|", ",") + "]")}}
	case kind == reflect.Float64:
		return bounds(object{{"type", "number"}}, "minimum", low, "maximum", high)
	}
	return bounds(object{{"type", "integer"}}, "minimum", low, "maximum", high)
}

// bounds adds the ends of a range, as far as it has them.
func bounds(o object, least, low, most, high string) object {
	if above, ok := strings.CutPrefix(low, ">"); ok {
		least, low = "exclusiveMinimum", above
	}
	if low != "" {
		o = append(o, member{least, json.RawMessage(low)})
	}
	if high != "" {
		o = append(o, member{most, json.RawMessage(high)})
	}
	return o
}
