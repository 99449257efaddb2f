package outputs

import (
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/imagefile/xmp"
)

const documentationFile = "../../../docs/metadata.md"

var update = flag.Bool("update", false, "write the generated tables and the schema")

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(documentationFile)
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

// TestDocumentedWarnings verifies that every warning is documented.
func TestDocumentedWarnings(t *testing.T) {
	text := documentation(t)
	for _, w := range []embed.Warning{
		embed.Credentials, embed.Broken, embed.OddStructure, embed.PacketMalformed, embed.PacketTooLarge,
		embed.NoSpace, embed.Reduced, embed.IndexOdd, embed.PlaceLeft,
	} {
		if !strings.Contains(text, "`"+string(w)+"`") {
			t.Errorf("the warning %q is not documented", w)
		}
	}
}

// TestFieldsAreDocumented verifies that the tables of the fields and of the XMP properties match the struct
// tags; -update writes them.
func TestFieldsAreDocumented(t *testing.T) {
	want := regexp.MustCompile(`(?m)(^\| field of the record .*\n\|---.*\n)(\|.*\n)+`).ReplaceAllString(documentation(t), "${1}"+escaped(fieldTable(t)))
	want = regexp.MustCompile(`(?m)(^\| property .*\n\|---.*\n)(\|.*\n)+`).ReplaceAllString(want, "${1}"+escaped(propertyTable()))
	checkGenerated(t, documentationFile, want)
	if !strings.Contains(want, xmp.Namespace) {
		t.Error("the namespace is not documented")
	}
}

// escaped returns text that a regular expression inserts as it is.
func escaped(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// fieldTable returns a row for each field of the record.
func fieldTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for path, f := range fields(reflect.TypeFor[Record](), nil) {
		doc, unit := f.Tag.Get("doc"), f.Tag.Get("unit")
		if doc == "" {
			t.Errorf("%s has no tag doc", path)
		}
		choice := f.Tag.Get("range")
		if i := strings.LastIndex(choice, " of "); i >= 0 {
			choice = choice[i+len(" of "):]
		}
		switch {
		case unit != "":
		case f.Type == reflect.TypeFor[bool]() || f.Type == reflect.TypeFor[*bool]():
			unit = "true, false"
		default:
			unit = "'" + strings.ReplaceAll(choice, "|", "', '") + "'"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, asCode(doc), asCode(unit))
	}
	return b.String()
}

// asCode replaces the single quotes around code, and escapes the stars of CIELAB. An apostrophe follows a letter.
func asCode(text string) string {
	text = regexp.MustCompile(`(^|[ (;])'([^']+)'`).ReplaceAllString(text, "$1`$2`")
	return regexp.MustCompile(`([LabE])\*`).ReplaceAllString(text, `$1\*`)
}

// propertyTable returns a row for each XMP property.
func propertyTable() string {
	var b strings.Builder
	for _, p := range embed.Properties {
		star := ""
		if p.Core {
			star = " *"
		}
		fmt.Fprintf(&b, "| `%s:%s` | %s%s | `%s` |\n", xmp.Prefix, p.Name, p.Type, star, p.Field)
	}
	return b.String()
}

// checkGenerated compares a generated file with its text, or writes it.
func checkGenerated(t *testing.T, file, want string) {
	t.Helper()
	if got, err := os.ReadFile(file); err != nil || string(got) == want {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !*update {
		t.Errorf("%s differs from the struct tags; -update changes it", file)
		return
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Error(err)
	}
}

// fields yields the fields of a struct and of the structs in it, by their JSON names joined by dots.
func fields(t reflect.Type, path []string) iter.Seq2[string, reflect.StructField] {
	return func(yield func(string, reflect.StructField) bool) {
		for f := range t.Fields() {
			inner := path
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				inner = append(slices.Clone(path), name)
			}
			of := f.Type
			for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			if of.Kind() != reflect.Struct {
				if !yield(strings.Join(inner, "."), f) {
					return
				}
				continue
			}
			for name, part := range fields(of, inner) {
				if !yield(name, part) {
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
