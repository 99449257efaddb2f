package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedClient verifies that a client that oapi-codegen generates from docs/openapi.yaml
// compiles, and sends a batch, waits for it and reads its results.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	const tool = "../tools/oapi-codegen"
	dir := t.TempDir()
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		if err := os.WriteFile(filepath.Join(dir, file), readFile(t, filepath.Join(tool, file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	document, err := filepath.Abs("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alone := func(dir string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...) //nolint:gosec // The commands are below.
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
		var notices strings.Builder // also of downloads
		cmd.Stderr = &notices
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, notices.String())
		}
		return string(out)
	}
	alone(tool, "tool", "oapi-codegen", "-config", "config.yaml", "-o", filepath.Join(dir, "client.gen.go"), document)

	s := forms["standalone"](t)
	s.described(t)
	site := origin(t, map[string][]byte{"photo1.jpg": photo(t)})
	out := alone(dir, "run", ".", s.url(""), site+"/photo1.jpg")
	lines := strings.Split(out, "\n")
	if len(lines) != 5 || lines[0] != "completed 2026/beach.jpg Summer photo1.jpg" || !strings.Contains(lines[1], " phash ") ||
		lines[2] != "206 ffd8" || lines[3] != "404 Image not found: images[7]" {
		t.Errorf("the client prints\n%s\nwant the status and the notes of the image, the members of its record, the start of its file, and an error", out)
	}
}
