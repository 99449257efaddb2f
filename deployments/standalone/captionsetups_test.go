package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

const captions = "../../docs/captions.md"

// TestCaptionSetups tries each setup of docs/captions.md on a photo, with the stand-in in the place of the model's server. The
// stand-in rejects every request that OpenAI's API would not accept, except for documented members of other servers.
func TestCaptionSetups(t *testing.T) {
	variable := regexp.MustCompile(`\b(CAPTION_\w+)=('[^']*'|\S+)`)
	tried := map[string]bool{}
	for _, e := range examples(t, captions) {
		if e.language != "sh" || !strings.Contains(e.text, "CAPTION_URL=") {
			continue
		}
		tried[e.section] = true
		t.Run(e.section, func(t *testing.T) {
			t.Parallel()
			server := visiontest.Start(t, "")
			server.Accept("provider")
			var environ []string
			model, authorization := "", ""
			for _, m := range variable.FindAllStringSubmatch(e.text, -1) {
				name, value := m[1], strings.Trim(m[2], "'")
				switch name {
				case "CAPTION_URL":
					if !strings.HasSuffix(value, "/v1") {
						t.Errorf("CAPTION_URL is %s, want a base URL that ends with /v1", value)
					}
					value = server.URL
				case "CAPTION_MODEL":
					model = value
				case "CAPTION_API_KEY_FILE":
					value, authorization = filepath.Join(t.TempDir(), "key"), "Bearer sk-secret"
					if err := os.WriteFile(value, []byte("sk-secret\n"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				environ = append(environ, name+"="+value)
			}
			var out, errs bytes.Buffer
			if code := analyzer.CaptionFiles(t.Context(), []string{"../../docs/sunrise.jpg"}, environ, &out, &errs); code != 0 {
				t.Fatalf("code %d with %q: %s", code, environ, errs.String())
			}
			for _, want := range []string{`"title": "` + visiontest.Title + `"`, "300 prompt tokens, 60 completion tokens, "} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the output lacks %q:\n%s", want, out.String())
				}
			}
			for _, r := range server.Requests() {
				if got := r.Header.Get("Authorization"); r.Model != model || got != authorization {
					t.Errorf("a request asks %q with %q, want %q with %q", r.Model, got, model, authorization)
				}
			}
		})
	}
	for _, section := range []string{"Five minutes to the first caption", "Ollama", "The server of llama.cpp", "vLLM", "OpenRouter", "OpenAI"} {
		if !tried[section] {
			t.Errorf("%q sets no CAPTION_URL", section)
		}
	}
}

// TestComposeWithGPU verifies that Compose accepts the document's override for a GPU.
func TestComposeWithGPU(t *testing.T) {
	override := filepath.Join(t.TempDir(), "compose.override.yaml")
	if err := os.WriteFile(override, []byte(pick(t, examples(t, captions), "Compose", "yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{"../../compose.yaml", override}, cli.WithProfiles([]string{"captions"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s, err := project.GetService("ollama"); err != nil || len(s.Gpus) != 1 || s.Gpus[0].Count != -1 || len(s.Ports) != 0 || !s.ReadOnly {
		t.Errorf("Ollama is %+v, %v", s, err)
	}
}
