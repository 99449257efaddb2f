package describe

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cameraFiles returns the test images of imagemeta, from many cameras and programs, by their paths.
func cameraFiles(t testing.TB) map[string][]byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "testdata", "images")
	files := map[string][]byte{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".jpg" && filepath.Ext(path) != ".png" {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // A file of the module cache.
		name, _ := filepath.Rel(root, path)
		files[name] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// judge reads tags of all files with exiftool, in one run, because it starts slowly.
func judge(t testing.TB, files map[string][]byte, tags ...string) map[string]map[string]any {
	t.Helper()
	exiftool, err := exec.LookPath("exiftool")
	if err != nil {
		t.Skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
	}
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exiftool, append([]string{"-json", "-n", "-r", "-q", "-q", "-fast"}, append(tags, dir)...)...) //nolint:gosec // The tool that was looked up.
	out, err := cmd.Output()
	// exiftool exits with 1 if one of the files is damaged, and prints the tags of all others.
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("exiftool: %v\n%s", err, out)
	}
	judged := map[string]map[string]any{}
	for _, f := range list {
		name, err := filepath.Rel(dir, f["SourceFile"].(string))
		if err != nil {
			t.Fatal(err)
		}
		judged[name] = f
	}
	return judged
}
