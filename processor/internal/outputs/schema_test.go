package outputs

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagebatch/imagebatch/processor/internal/embed"
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

// TestSchemaMatchesTheStructs compares the schema with the code field by field: the same names in the same
// order, of the same types, and required unless they may be omitted.
func TestSchemaMatchesTheStructs(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for def, of := range map[string]reflect.Type{
		"analysis": reflect.TypeFor[pipeline.Metadata](), "exif": reflect.TypeFor[pipeline.Exif](),
		"gps": reflect.TypeFor[pipeline.GPS](), "color": reflect.TypeFor[pipeline.ColorShare](),
		"processed": reflect.TypeFor[Processed](), "thumbnail": reflect.TypeFor[Thumbnail](),
	} {
		root.Defs[def].is(t, def, of)
	}
	root.is(t, "the record", reflect.TypeFor[Record]())
}

// object is the part of an object's schema that the test reads.
type object struct {
	Defs       map[string]object          `json:"$defs"`
	Required   []string                   `json:"required"`
	Properties map[string]json.RawMessage `json:"properties"`
}

func (o object) is(t *testing.T, name string, of reflect.Type) {
	t.Helper()
	var names, required []string
	for f := range of.Fields() {
		if f.Anonymous { // has a definition of its own
			continue
		}
		field, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, field)
		if option == "" {
			required = append(required, field)
		}
		property, ok := o.Properties[field]
		if !ok {
			t.Errorf("%s lacks %s", name, field)
			continue
		}
		if got, want := typeOf(t, property), jsonType(f.Type); got != want {
			t.Errorf("%s of %s has type %s, in the code %s", field, name, got, want)
		}
	}
	for field := range o.Properties {
		if !slices.Contains(names, field) {
			t.Errorf("%s has %s, which the code does not have", name, field)
		}
	}
	slices.Sort(required)
	if got := slices.Sorted(slices.Values(o.Required)); !slices.Equal(got, required) {
		t.Errorf("%s requires %q, the code always writes %q", name, got, required)
	}
}

// typeOf returns the type that a property's schema requires; for an enumeration, that of its first value.
func typeOf(t *testing.T, property json.RawMessage) string {
	t.Helper()
	var p struct {
		Type  string `json:"type"`
		Ref   string `json:"$ref"`
		Const any    `json:"const"`
		Enum  []any  `json:"enum"`
	}
	if err := json.Unmarshal(property, &p); err != nil {
		t.Fatal(err)
	}
	switch append(p.Enum, p.Const)[0].(type) {
	case string:
		return "string"
	case float64:
		return "integer"
	default:
		if p.Ref != "" {
			return "object"
		}
		return p.Type
	}
}

func jsonType(of reflect.Type) string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch of.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "array"
	default:
		return "object"
	}
}
