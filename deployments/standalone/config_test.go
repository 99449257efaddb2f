package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/gateway/deadletters"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

const configuration = "../../docs/configuration.md"

// variableTables are the tables of docs/configuration.md, by the name in their marker
// <!-- variables: NAME -->. Each lists the variables of a struct with env tags, including
// those of embedded structs that have no table of their own.
var variableTables = []struct {
	mark string
	of   reflect.Type
}{
	{"all services", reflect.TypeFor[service.Base]()},
	{"traces", reflect.TypeFor[telemetry.Config]()},
	{"servers", reflect.TypeFor[connect.Config]()},
	{"gateway", reflect.TypeFor[gateway.Config]()},
	{"dead letters", reflect.TypeFor[deadletters.Config]()},
	{"analyzer", reflect.TypeFor[analyzer.Config]()},
	{"captions", reflect.TypeFor[analyzer.CaptionConfig]()},
	{"processor", reflect.TypeFor[processor.Config]()},
}

// row is a row of a table: one variable, or several that share a description.
type row struct{ names, defaults, text string }

// variableRows returns the rows of a struct, from its env tags and its comments. A field
// without a comment directly below another field shares that field's row. A comment may end
// with a paragraph "Default: …" that replaces the default in the tag.
//
// listed contains the names and struct types that are already in a table; they are skipped.
func variableRows(t *testing.T, of reflect.Type, listed map[any]bool) (list []row) {
	t.Helper()
	listed[of] = true
	source := structFields(t, of)
	for field := range of.Fields() {
		tag, variable := field.Tag.Lookup("env")
		if !variable {
			if field.Type.Kind() == reflect.Struct && !hasTable(field.Type) && !listed[field.Type] {
				list = append(list, variableRows(t, field.Type, listed)...)
			}
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		value := field.Tag.Get("envDefault")
		if value != "" {
			value = "`" + value + "`"
		}
		comment, adjoins := source[field.Name].comment, source[field.Name].adjoins
		text, override, ok := strings.Cut(comment, "\n\nDefault: ")
		if ok {
			value = strings.TrimSpace(override)
		}
		switch {
		case text != "":
			list = append(list, row{"`" + name + "`", value, strings.Join(strings.Fields(text), " ")})
		case adjoins && len(list) > 0:
			last := &list[len(list)-1]
			last.names += ", `" + name + "`"
			if value != "" {
				last.defaults += ", " + value
			}
		case listed[name]:
		default:
			t.Errorf("%s has no comment in %s for the table", name, of)
		}
		listed[name] = true
	}
	return list
}

func hasTable(of reflect.Type) bool {
	for _, table := range variableTables {
		if table.of == of {
			return true
		}
	}
	return false
}

// sourceField describes a field in the source.
type sourceField struct {
	comment string
	adjoins bool // whether it is on the line after another field
}

// structFields reads the declaration of a struct.
func structFields(t *testing.T, of reflect.Type) map[string]sourceField {
	t.Helper()
	found := map[string]sourceField{}
	dir := filepath.Join("..", "..", filepath.FromSlash(strings.TrimPrefix(of.PkgPath(), base)))
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != of.Name() {
				return true
			}
			declared, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			before := -1
			for _, f := range declared.Fields.List {
				for _, name := range f.Names {
					found[name.Name] = sourceField{strings.TrimSpace(f.Doc.Text()), set.Position(f.Pos()).Line == before+1}
				}
				before = set.Position(f.End()).Line
			}
			return false
		})
	}
	if len(found) == 0 {
		t.Fatalf("no declaration of %s in %s", of, dir)
	}
	return found
}

// TestVariablesAreDocumented verifies that the tables of docs/configuration.md contain
// exactly the variables of the code, with their defaults and comments; -update writes them.
func TestVariablesAreDocumented(t *testing.T) {
	doc := string(readFile(t, configuration))
	old, listed := doc, map[any]bool{}
	for _, table := range variableTables {
		var text strings.Builder
		text.WriteString("| Variable | Default | What it does |\n|---|---|---|\n")
		for _, r := range variableRows(t, table.of, listed) {
			fmt.Fprintf(&text, "| %s |%s | %s |\n", r.names, strings.TrimRight(" "+r.defaults, " "), r.text)
		}
		doc = between(t, doc, "variables: "+table.mark, text.String())
	}
	if marks := strings.Count(doc, "<!-- variables: "); marks != len(variableTables) {
		t.Errorf("the document has %d marked tables, want %d", marks, len(variableTables))
	}
	if doc == old {
		return
	}
	if !*update {
		t.Errorf("the tables of %s differ from the code; -update changes it to:\n%s", configuration, doc)
	} else if err := os.WriteFile(configuration, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
}

// between replaces the text between the markers <!-- NAME --> and <!-- end --> of a document.
func between(t *testing.T, doc, name, text string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
	head, rest, ok := strings.Cut(doc, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("there are no markers for %s", name)
	}
	return head + begin + text + end + tail
}

// TestSecretsHaveSecretTypes verifies that a variable whose name suggests a secret has a type
// that is never printed, or is listed here as harmless.
func TestSecretsHaveSecretTypes(t *testing.T) {
	open := map[string]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE": "a path", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "an address of this machine",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "a path",
		"DOWNLOAD_ALLOW_HEADERS":                 "true or false",
		"S3_ACCESS_KEY":                          "a user's name", "API_KEYS_FILE": "a path", "TLS_KEY_FILE": "a path",
		"CAPTION_KEYWORD_PARENT": "a keyword", "CAPTION_KEYWORDS": "a number", "CAPTION_MAX_TOKENS": "a number",
		"KEY_REQUESTS_PER_MINUTE": "a number", "KEY_UPLOAD_BYTES_PER_MINUTE": "a number", "KEY_OPEN_IMAGES": "a number", "KEY_SOCKETS": "a number",
	}
	hidden := []reflect.Type{reflect.TypeFor[service.Secret](), reflect.TypeFor[service.SecretURL](), reflect.TypeFor[[]service.SecretURL]()}
	sounds := regexp.MustCompile(`KEY|SECRET|PASS|TOKEN|HEADERS|CREDENTIAL|(_URL|_ENDPOINT)$`)
	for _, table := range variableTables {
		for _, v := range service.Variables(table.of) {
			kept := false
			for _, h := range hidden {
				kept = kept || v.Type == h
			}
			if sounds.MatchString(v.Name) && !kept && open[v.Name] == "" {
				t.Errorf("%s has the type %s, which is printed", v.Name, v.Type)
			}
		}
	}
}
