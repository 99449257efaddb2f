package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

// commandLineDocs runs the transcripts of docs/command-line.md that are wanted, in the folder, and returns the number of commands.
func commandLineDocs(t *testing.T, s *system, dir string, wanted func(example) bool, adapt func(string) string) int {
	t.Helper()
	program, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	transcript := ""
	for _, e := range examples(t, "../../docs/command-line.md") {
		if e.language == "console" && wanted(e) {
			transcript += e.text
		}
	}
	name := regexp.MustCompile(`(^|\$\()imagebatch `)
	return s.follow(t, dir, adapt(strings.ReplaceAll(transcript, docsHost, s.addr)), func(command string) string {
		return name.ReplaceAllString(command, "${1}env IMAGEBATCH_URL="+s.url("")+" "+program+" ")
	})
}

// docsPhotos writes the photos of the document.
func docsPhotos(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	// With a comment, it has another content than the other photo.
	writeFile(t, filepath.Join(dir, "photos/garden.jpg"), slices.Insert(photo(t), 2, 0xff, 0xfe, 0, 4, 'x', 'x'))
	writeFile(t, filepath.Join(dir, "photos/spain/sunrise.jpg"), photo(t))
	writeFile(t, filepath.Join(dir, "photos/notes.txt"), []byte("no image"))
	return dir
}

// TestCommandLineDocs runs the transcripts of docs/command-line.md, except for those about captions.
func TestCommandLineDocs(t *testing.T) {
	t.Parallel()
	need(t, "unzip", "-v")
	n := commandLineDocs(t, forms["standalone"](t), docsPhotos(t), func(e example) bool { return e.section != "Captions" }, strings.Clone)
	if n < 13 {
		t.Errorf("the transcripts have only %d commands", n)
	}
}

// TestCommandLineCaptions runs the transcripts about captions, with a model that refuses to describe the images at first.
func TestCommandLineCaptions(t *testing.T) {
	t.Parallel()
	model := visiontest.Start(t, "secret")
	refusal := visiontest.Message(map[string]any{"refusal": "no"}, "stop")
	model.Play(refusal)
	s := forms["standalone"](t, captionEnv(model, "CAPTION_MODEL=gemma3:4b")...)
	dir := docsPhotos(t)
	host := strings.TrimSuffix(strings.TrimPrefix(model.URL, "http://"), "/v1")
	adapt := strings.NewReplacer("ollama:11434", host, "768 px", "…").Replace
	before := func(e example) bool { return e.section == "Captions" && strings.Contains(e.text, "--dry-run") }
	n := commandLineDocs(t, s, dir, before, adapt)
	sh := newShell(t, s.url(""))
	sh.dir = dir
	sh.expect(0, "2 images: 2 completed, 2 uncaptioned", "send", "-r", "photos", "--out", "processed")
	model.Play(visiontest.Default)
	n += commandLineDocs(t, s, dir, func(e example) bool { return e.section == "Captions" && !before(e) }, adapt)
	if n != 7 {
		t.Errorf("the transcripts have %d commands, want 7", n)
	}
	for name, file := range filesIn(t, filepath.Join(dir, "processed", "photos")) {
		if !strings.Contains(string(file), visiontest.AltText) {
			t.Errorf("%s does not contain the model's alternative text", name)
		}
	}
}
