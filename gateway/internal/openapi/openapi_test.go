package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/imagebatch/imagebatch/gateway/internal/openapi"
)

func description(t *testing.T, basePath string) *openapi.Description {
	t.Helper()
	d, err := openapi.New(basePath)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestForms verifies that YAML and JSON have the same content in the same order, and that
// docs/openapi.yaml is the description that the gateway serves.
func TestForms(t *testing.T) {
	for _, base := range []string{"", "/team/images"} {
		d := description(t, base)
		var fromYAML, fromJSON any
		if err := yaml.Unmarshal(d.YAML, &fromYAML); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(d.JSON, &fromJSON); err != nil || !json.Valid(d.JSON) { // JSON is YAML
			t.Fatalf("the JSON is invalid: %v", err)
		}
		if !reflect.DeepEqual(fromYAML, fromJSON) {
			t.Errorf("below %q, the JSON has another content than the YAML", base)
		}
		order := regexp.MustCompile(`operationId"?: "?(\w+)`)
		if a, b := fmt.Sprint(names(order, d.YAML)), fmt.Sprint(names(order, d.JSON)); a != b {
			t.Errorf("the order is %s in YAML and %s in JSON", a, b)
		}
		if again := description(t, base); !bytes.Equal(d.JSON, again.JSON) || !bytes.Equal(d.Page, again.Page) {
			t.Error("two conversions differ")
		}
	}
	file, err := os.ReadFile("../../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, description(t, "").YAML) {
		t.Error("docs/openapi.yaml is another file than the one that is served")
	}
}

func names(pattern *regexp.Regexp, text []byte) (list []string) {
	for _, m := range pattern.FindAllSubmatch(text, -1) {
		list = append(list, string(m[1]))
	}
	return list
}

// TestPageShowsEverything verifies that the page has each operation, parameter, schema, property and
// status, that its links within the page have a target, and that it needs no other server.
func TestPageShowsEverything(t *testing.T) {
	d := description(t, "")
	page := string(d.Page)
	var all struct {
		Paths      map[string]map[string]yaml.Node
		Components struct {
			Parameters map[string]struct{ Name string }
			Headers    map[string]any
			Schemas    map[string]struct{ Properties map[string]any }
		}
	}
	if err := yaml.Unmarshal(d.YAML, &all); err != nil {
		t.Fatal(err)
	}
	want := []string{">Jobs</h2>", "Images by URL, with notes of the client", "<dt><b>426</b></dt>", "one of gzip, zstd, identity", "at most 1000", "default newest"}
	for _, id := range names(regexp.MustCompile(`operationId: (\w+)`), d.YAML) {
		want = append(want, `<span id="`+id+`">`)
	}
	for path := range all.Paths {
		want = append(want, "<code>"+path+"</code>")
	}
	for _, p := range all.Components.Parameters {
		want = append(want, "<dt><code>"+p.Name+"</code>")
	}
	for name := range all.Components.Headers {
		want = append(want, `id="header-`+name+`"`)
	}
	for name, schema := range all.Components.Schemas {
		want = append(want, `id="schema-`+name+`"`)
		for property := range schema.Properties {
			want = append(want, "<dt><code>"+property+"</code>")
		}
	}
	for _, text := range want {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	for _, target := range names(regexp.MustCompile(`href="#([^"]+)"`), d.Page) {
		if strings.Count(page, `id="`+target+`"`) != 1 {
			t.Errorf("the link #%s has %d targets", target, strings.Count(page, `id="`+target+`"`))
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"`).FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], "/") || strings.Contains(m[0], "src=") || strings.Contains(m[1], "//") && !strings.HasPrefix(m[1], "https://github.com/imagebatch/") {
			t.Errorf("the page refers to %s", m[1])
		}
	}
	if strings.ContainsAny(regexp.MustCompile(`(?s)<pre.*?</pre>|<code>.*?</code>`).ReplaceAllString(page, ""), "`") {
		t.Error("the page has a backtick that is no code")
	}
}
