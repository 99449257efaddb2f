package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const extensions = "../../docs/api-extensions.md"

// keysSection needs a gateway with API keys, and headersSection one that sends headers, so they
// have tests of their own.
const (
	keysSection    = "API keys"
	headersSection = "Headers for an image URL"
)

// TestExtensionsExamples runs the transcripts of the extensions one after the
// other, as a reader would.
func TestExtensionsExamples(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t)
	s.described(t)
	site, _, _ := gatedOrigin(t)
	dir := t.TempDir()
	transcript := ""
	for _, e := range examples(t, extensions) {
		if e.language == "console" && e.section != keysSection && e.section != headersSection {
			transcript += e.text
		}
	}
	n := s.follow(t, dir, transcript, func(command string) string { return strings.ReplaceAll(command, docsSite, site) })
	if n < 15 {
		t.Errorf("the transcripts have only %d commands", n)
	}
	if file := readFile(t, dir+"/thumbnail.jpg"); !strings.HasPrefix(string(file), "\xff\xd8") {
		t.Error("the thumbnail is not a JPEG")
	}
}

// TestExtensionsEventsExample runs the document's function that reads server-sent events with
// fetch, on a running job and on an ended one.
func TestExtensionsEventsExample(t *testing.T) {
	t.Parallel()
	need(t, "node", "--version")
	s := forms["standalone"](t)
	id := s.submit(t, inline("a.png", []byte("no image")), inline("b.jpg", photo(t)))
	var function string
	for _, e := range examples(t, extensions) {
		if e.language == "js" && strings.Contains(e.text, "fetch(") {
			function = e.text
		}
	}
	const call = `const plain = fetch; fetch = (path, options) => plain("http://%s" + path, options);
watch("%s", "key", (m) => console.log(m.type, m.image?.index ?? m.status));`
	for range 2 {
		out := strings.Split(strings.TrimSpace(execute(t, function+fmt.Sprintf(call, s.addr, id), "node", "--input-type=commonjs", "-")), "\n")
		if !strings.HasPrefix(out[0], "progress ") || out[len(out)-1] != "job_complete completed" ||
			!slices.Contains(out, "image_complete 0") || !slices.Contains(out, "image_complete 1") {
			t.Errorf("got %q", out)
		}
		s.ended(t, id)
	}
}

// TestExtensionsErrorCodes compares the table of error codes with the code.
func TestExtensionsErrorCodes(t *testing.T) {
	first := func(all [][]string) (names []string) {
		for _, m := range all {
			names = append(names, m[1])
		}
		return names
	}
	_, table, _ := strings.Cut(string(readFile(t, extensions)), "## Error codes of images")
	table, _, _ = strings.Cut(table, "## ")
	documented := first(regexp.MustCompile("(?m)^\\| `(\\w+)` ").FindAllStringSubmatch(table, -1))
	source := string(readFile(t, "../../shared/pipeline/failure.go"))
	defined := first(regexp.MustCompile(`(?m)^\tCode\w+ += "(\w+)"`).FindAllStringSubmatch(source, -1))
	if len(defined) == 0 || !slices.Equal(documented, defined) {
		t.Errorf("documented: %v\ndefined: %v", documented, defined)
	}
	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, code := range d.doc.Components.Schemas["ErrorCode"].Value.Enum {
		described = append(described, fmt.Sprint(code))
	}
	if !slices.Equal(described, defined) {
		t.Errorf("in openapi.yaml: %v\ndefined: %v", described, defined)
	}
}
