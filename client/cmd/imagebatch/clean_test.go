package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/embed"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// plainPhoto returns a JPEG without metadata, and the same with a model's title and keywords in it.
func plainPhoto(t *testing.T) (plain, processed []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	m := pipeline.Metadata{
		AnalyzerVersion: "1", Format: "jpeg", Width: 16, Height: 16, Title: "A dog", Keywords: []string{"dog"},
		Captioned: []string{"title", "keywords"}, Caption: &pipeline.Caption{Model: "seeing:7b", Language: "en"},
	}
	f, err := embed.Write(b.Bytes(), m, embed.Options{Captions: true})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), f.Data
}

// cleaned runs the command and returns its exit code and output.
func cleaned(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append([]string{"clean"}, args...), nil, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestClean verifies what clean writes and prints, and that it keeps the mode and the time of a file.
func TestClean(t *testing.T) {
	plain, processed := plainPhoto(t)
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path(name), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path(name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put("a.jpg", processed)
	put("plain.jpg", plain)
	put("notes.txt", []byte("no image"))

	code, out, _ := cleaned("--dry-run", path("a.jpg"), path("plain.jpg"))
	if want := path("a.jpg") + ": would remove title, keywords\n" + path("plain.jpg") + ": nothing to remove\n"; code != exitOK || out != want {
		t.Errorf("--dry-run: code %d, %q; want %q", code, out, want)
	}
	if !bytes.Equal(get("a.jpg"), processed) {
		t.Fatal("--dry-run changed the file")
	}

	if code, out, errs := cleaned("--backup", path("a.jpg")); code != exitOK || out != path("a.jpg")+": removed title, keywords\n" || errs != "" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if data := get("a.jpg"); bytes.Contains(data, []byte("dog")) || !bytes.Contains(data, []byte("imagebatch:Width")) {
		t.Error("the texts remain, or the measured values are gone")
	}
	if !bytes.Equal(get("a.jpg_original"), processed) {
		t.Error("the backup is not the file as it was")
	}
	for _, name := range []string{"a.jpg", "a.jpg_original"} {
		if info, err := os.Stat(path(name)); err != nil || info.Mode().Perm() != 0o640 || !info.ModTime().Equal(at) {
			t.Errorf("%s: mode %v, time %v, %v", name, info.Mode(), info.ModTime(), err)
		}
	}

	// The second backup would replace the first, so nothing is written.
	put("a.jpg", processed)
	if code, _, errs := cleaned("--backup", path("a.jpg")); code != exitLocal || !strings.Contains(errs, "a.jpg_original") || !bytes.Equal(get("a.jpg"), processed) {
		t.Errorf("with an existing backup: code %d, %q", code, errs)
	}

	if err := os.Symlink("a.jpg", path("link.jpg")); err != nil {
		t.Fatal(err)
	}
	code, out, errs := cleaned("--json", "--all", path("link.jpg"), path("notes.txt"), path("missing.jpg"), path("plain.jpg"), dir)
	if code != exitLocal || errs != "" {
		t.Errorf("code %d, %q", code, errs)
	}
	var lines []cleanLine
	for text := range strings.Lines(out) {
		var line cleanLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if (line.Error != "") != (line.Status == "failed") {
			t.Errorf("status %q with the error %q", line.Status, line.Error)
		}
		line.Error = ""
		lines = append(lines, line)
	}
	want := []cleanLine{
		{Type: "clean", Path: path("link.jpg"), Status: "cleaned", Removed: []string{"title", "keywords"}, Values: true},
		{Type: "clean", Path: path("notes.txt"), Status: "failed"},
		{Type: "clean", Path: path("missing.jpg"), Status: "failed"},
		{Type: "clean", Path: path("plain.jpg"), Status: "unchanged"},
		{Type: "clean", Path: dir, Status: "failed"},
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %+v\nwant %+v", lines, want)
	}
	if !bytes.Equal(get("a.jpg"), plain) {
		t.Error("the file is not as it was before Imagebatch")
	}
	if info, err := os.Lstat(path("link.jpg")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if code, _, _ := cleaned(path("notes.txt")); code != exitImagesFailed {
		t.Errorf("a text alone: code %d, want %d", code, exitImagesFailed)
	}
	if code, _, _ := cleaned(); code != exitUsage {
		t.Errorf("without a file: code %d, want %d", code, exitUsage)
	}
	if left, err := filepath.Glob(path(".imagebatch-*")); err != nil || len(left) > 0 {
		t.Errorf("temporary files remain: %q, %v", left, err)
	}
}

// TestCleanOfAChangedFile verifies that a file that another program has written meanwhile is not replaced.
func TestCleanOfAChangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("edited"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(info, path, []byte("cleaned")); err == nil {
		t.Error("the file was replaced")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "edited" {
		t.Errorf("the file is %q, %v", data, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files remain, %v", len(left), err)
	}
}
