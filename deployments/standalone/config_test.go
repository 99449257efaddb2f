package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/deadletters"
	"github.com/imagebatch/imagebatch/shared/remote"
	"github.com/imagebatch/imagebatch/shared/service"
)

// TestVariablesAreDocumented holds docs/configuration.md to the code: each
// variable that is read stands there with its default, and no other does.
func TestVariablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // the row by the name
	for line := range strings.Lines(string(text)) {
		cell, row := strings.CutPrefix(line, "| `")
		if !row {
			continue
		}
		cell, _, _ = strings.Cut("`"+cell, " |")
		for _, name := range regexp.MustCompile("`([A-Z][A-Z0-9_]+)`").FindAllStringSubmatch(cell, -1) {
			documented[name[1]] = line
		}
	}
	read := map[string]bool{}
	for _, part := range []reflect.Type{reflect.TypeFor[config](), reflect.TypeFor[remote.Config](), reflect.TypeFor[deadletters.Config]()} {
		for _, v := range service.Variables(part) {
			read[v.Name] = true
			row, ok := documented[v.Name]
			if !ok {
				t.Errorf("%s is read and not in docs/configuration.md", v.Name)
			}
			if fallback := v.Default; fallback != "" && fallback != "0" && !strings.Contains(row, "`"+fallback+"`") {
				t.Errorf("the row of %s does not tell its default %s", v.Name, fallback)
			}
		}
	}
	for name := range documented {
		if !read[name] {
			t.Errorf("%s is in docs/configuration.md and nothing reads it", name)
		}
	}
}
