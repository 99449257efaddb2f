package vision

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the built-in prompt into docs/captions.md")

// TestPromptIsDocumented verifies that docs/captions.md shows the built-in prompt; -update writes it.
func TestPromptIsDocumented(t *testing.T) {
	const file, begin, end = "../../../docs/captions.md", "<!-- prompt -->\n```text\n", "```\n<!-- end -->"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	shown, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no markers for the prompt", file)
	}
	switch {
	case shown == DefaultPrompt:
	case *update:
		if err := os.WriteFile(file, []byte(head+begin+DefaultPrompt+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s shows another prompt; run this test with -update", file)
	}
}

// TestRender verifies the names of languages in a prompt, and what is not a template.
func TestRender(t *testing.T) {
	for tag, want := range map[string]string{"en": "English en 7", "de": "German de 7", "pt-BR": "Brazilian Portuguese pt-BR 7", "zh-Hant": "Traditional Chinese zh-Hant 7"} {
		if got, err := Render("{{.LanguageName}} {{.Language}} {{.Keywords}}\n", tag, 7); got != want || err != nil {
			t.Errorf("%s: %q, error %v, want %q", tag, got, err, want)
		}
	}
	for _, text := range []string{"", " \n", "{{.Other}}", "{{", "{{.Keywords.X}}", "\xff", strings.Repeat("x", maxPrompt+1)} {
		if got, err := Render(text, "en", 7); err == nil {
			t.Errorf("%.20q is rendered as %.20q, want an error", text, got)
		}
	}
}
