package outputs

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/processor/internal/caption"
	"github.com/imagebatch/imagebatch/processor/internal/embed"
	"github.com/imagebatch/imagebatch/processor/internal/xmp"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/metadata.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentedRecord verifies that the example in the documentation matches, byte for byte, a record with its
// values, and that it has a value for every field.
func TestDocumentedRecord(t *testing.T) {
	_, example, ok := strings.Cut(documentation(t), "```json\n")
	if !ok {
		t.Fatal("no example")
	}
	example, _, _ = strings.Cut(example, "```")
	r := record(t, Files{Record: []byte(example)})
	again, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != example {
		t.Errorf("the record with these values is\n%s", again)
	}
	var there map[string]any
	if err := json.Unmarshal([]byte(example), &there); err != nil {
		t.Fatal(err)
	}
	for path := range fields(reflect.TypeFor[Record](), nil) {
		if !has(there, strings.Split(path, ".")) {
			t.Errorf("the example lacks %s", path)
		}
	}
}

// TestDocumentedFields verifies that every field of the record and every warning is documented.
func TestDocumentedFields(t *testing.T) {
	text := documentation(t)
	for path := range fields(reflect.TypeFor[Record](), nil) {
		if !strings.Contains(text, "| `"+path+"` |") {
			t.Errorf("%s has no row", path)
		}
	}
	for _, w := range []embed.Warning{
		embed.Credentials, embed.Broken, embed.OddStructure, embed.PacketMalformed, embed.PacketTooLarge,
		embed.NoSpace, embed.Reduced, embed.IndexOdd, embed.PlaceLeft,
	} {
		if !strings.Contains(text, "`"+string(w)+"`") {
			t.Errorf("the warning %q is not documented", w)
		}
	}
}

// TestDocumentedProperties verifies that the table of XMP properties lists those that are written, in order.
func TestDocumentedProperties(t *testing.T) {
	text := documentation(t)
	if !strings.Contains(text, xmp.Namespace) {
		t.Error("the namespace is not documented")
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `imagebatch:(\\w+)` \\|").FindAllStringSubmatch(text, -1) {
		documented = append(documented, row[1])
	}
	var m pipeline.Metadata
	everyField(reflect.ValueOf(&m).Elem())
	packet := xmp.New(xmp.Describe(m).WithCaption(caption.Stated(m)))
	var written []string
	for _, m := range regexp.MustCompile(`[ <]imagebatch:(\w+)[=>]`).FindAllSubmatch(packet, -1) {
		written = append(written, string(m[1]))
	}
	slices.Sort(documented)
	slices.Sort(written)
	if !slices.Equal(documented, written) {
		t.Errorf("documented %q\nwritten    %q", documented, written)
	}
	if bytes.Count(packet, []byte(xmp.Namespace)) != 1 {
		t.Error("the namespace is not declared exactly once")
	}
}

// everyField sets every field of a struct.
func everyField(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		everyField(v.Index(0))
	case reflect.Struct:
		for _, field := range v.Fields() {
			everyField(field)
		}
	default: // booleans and numbers are always written
	}
}

// fields yields the JSON names of a struct and of the structs in it, joined by dots.
func fields(t reflect.Type, path []string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			yield(strings.Join(path, "."))
			return
		}
		for f := range t.Fields() {
			inner := path
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				inner = append(slices.Clone(path), name)
			}
			for name := range fields(f.Type, inner) {
				if !yield(name) {
					return
				}
			}
		}
	}
}

// has reports whether a value, or the first of a list of values, has a member.
func has(v any, path []string) bool {
	if list, ok := v.([]any); ok {
		return len(list) > 0 && has(list[0], path)
	}
	if len(path) == 0 {
		return true
	}
	object, ok := v.(map[string]any)
	if !ok {
		return false
	}
	inner, ok := object[path[0]]
	return ok && has(inner, path[1:])
}
