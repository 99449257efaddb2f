package console_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/console"
)

// TestFirstVisit verifies that a browser receives less than 40 kB for its first visit, headers
// excluded, and that the compressed files are the files.
func TestFirstVisit(t *testing.T) {
	// The browser also requests the limits and the owner of the key: with their headers, well below this size.
	total := 1000
	later := 0
	for name, f := range console.Files() {
		if f.First {
			total += len(f.Gzip)
		} else {
			later++
		}
		r, err := gzip.NewReader(bytes.NewReader(f.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, f.Data) {
			t.Errorf("%s: got %d other bytes from gzip, %v", name, len(data), err)
		}
	}
	if t.Logf("%d bytes", total); total >= 40_000 {
		t.Errorf("the first visit transfers %d bytes", total)
	}
	if later < 4 {
		t.Errorf("only %d screens are loaded later", later)
	}
}

// TestBundle verifies that the committed bundle is what the sources give, by the command of
// go generate.
func TestBundle(t *testing.T) {
	source, err := os.ReadFile("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^//go:generate env (.*) --outdir=dist(.*)$`).FindSubmatch(source)
	if m == nil {
		t.Fatal("generate.go has no command")
	}
	dir := t.TempDir()
	words := strings.Fields(string(m[1]) + " --outdir=" + dir + string(m[2]))
	cmd := exec.CommandContext(t.Context(), words[1], words[2:]...) //nolint:gosec // the command of this repository
	cmd.Env = append(os.Environ(), words[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names := map[string]bool{}
	for _, folder := range []string{dir, "dist"} {
		found, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names[f.Name()] = true
		}
	}
	for name := range names {
		fresh, _ := os.ReadFile(filepath.Join(dir, name))
		committed, _ := os.ReadFile(filepath.Join("dist", name))
		if !bytes.Equal(fresh, committed) {
			t.Errorf("dist/%s is not what src gives; run go generate ./internal/console", name)
		}
	}
}

// TestSources verifies that the sources use nothing that the policy of the page forbids, so that
// no test in a browser has to find the line that does.
func TestSources(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bon[a-z]+="|\bstyle="|https?://|dangerouslySet`)
	allowed := regexp.MustCompile(`http://www\.w3\.org/|https://www\.apache\.org/licenses/|https://www\.openstreetmap\.org/`)
	err := filepath.WalkDir("src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "vendor") || strings.HasSuffix(path, ".test.mjs") {
			return err
		}
		data, err := os.ReadFile(path)
		for i, line := range strings.Split(string(data), "\n") {
			if found := forbidden.FindString(allowed.ReplaceAllString(line, "")); found != "" {
				t.Errorf("%s:%d has %s", path, i+1, found)
			}
		}
		if lines := bytes.Count(data, []byte("\n")); lines > 400 {
			t.Errorf("%s has %d lines", path, lines)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScript runs the tests of the parts of the script that need no browser.
func TestScript(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("needs Node.js")
	}
	var tests []string
	for _, pattern := range []string{"src/lib/*.test.mjs", "src/screens/*/*.test.mjs"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: got %d tests, %v", pattern, len(found), err)
		}
		tests = append(tests, found...)
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"--test"}, tests...)...) //nolint:gosec // the tests of this folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
