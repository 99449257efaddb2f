package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// summarizeModule runs the real `go test -json` over a module of the given files.
func summarizeModule(t *testing.T, files map[string]string, args ...string) (counts, string) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example\n\ngo 1.26\n"
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "go", append([]string{"test", "-json"}, append(args, "./...")...)...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	events, err := command.Output()
	t.Log("go test:", err)
	var out strings.Builder
	got, err := summarize(strings.NewReader(string(events)), &out)
	if err != nil {
		t.Fatal(err)
	}
	return got, out.String()
}

func TestCountsLeaves(t *testing.T) {
	got, out := summarizeModule(t, map[string]string{
		"a/a_test.go": `package a

import "testing"

func TestPlain(t *testing.T) {}

func TestParent(t *testing.T) {
	t.Run("image/one", func(t *testing.T) {})
	t.Run("two", func(t *testing.T) { t.Run("deep", func(t *testing.T) { t.Parallel(); t.Error("too deep") }) })
	t.Run("three", func(t *testing.T) { t.Skip("not today") })
}

func TestParentAlone(t *testing.T) {
	t.Run("good", func(t *testing.T) {})
	t.Error("the parent itself")
}
`,
		"b/b.go": "package b\n",
	})
	if want := (counts{passed: 3, failed: 2, skipped: 1}); got != want {
		t.Errorf("got %v, want %v\n%s", got, want, out)
	}
	for _, want := range []string{"too deep", "the parent itself", "SKIP  example/a TestParent/three", "not today", "FAIL  example/a"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
}

func TestCountsRepetitions(t *testing.T) {
	got, out := summarizeModule(t, map[string]string{
		"a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n",
	}, "-count=20")
	if want := (counts{passed: 20}); got != want {
		t.Errorf("got %v, want %v\n%s", got, want, out)
	}
}

// What goes wrong outside of a test that ends must not vanish from the count.
func TestCountsWhatIsNoTest(t *testing.T) {
	tests := map[string]struct {
		source string
		want   counts
		says   string
	}{
		"does not build": {
			source: "func TestA(t *testing.T) { undefined() }",
			want:   counts{failed: 1},
			says:   "undefined: undefined",
		},
		"does not pass vet": {
			source: "func TestA(t *testing.T) { t.Errorf(\"%d\", \"text\") }",
			want:   counts{failed: 1},
			says:   "wrong type",
		},
		"TestMain fails": {
			source: "func TestA(t *testing.T) {}\nfunc TestMain(m *testing.M) { m.Run(); println(\"leaked\"); panic(1) }",
			want:   counts{passed: 1, failed: 1},
			says:   "leaked",
		},
		"panic": {
			source: "func TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { panic(\"ouch\") }) }\nfunc TestB(t *testing.T) {}",
			want:   counts{failed: 1},
			says:   "ouch",
		},
		"exit": {
			source: "func TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { println(\"gone\"); go panic(\"away\"); select {} }",
			want:   counts{passed: 1, failed: 1},
			says:   "away",
		},
		"time limit": {
			source: "func TestA(t *testing.T) { t.Run(\"stuck\", func(t *testing.T) { select {} }) }",
			want:   counts{failed: 1},
			says:   "FAIL  example",
		},
		"no test": {source: "var _ testing.TB", says: ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, out := summarizeModule(t, map[string]string{
				"a_test.go": "package a\n\nimport \"testing\"\n\n" + test.source + "\n",
			}, "-timeout=3s")
			if got != test.want || !strings.Contains(out, test.says) {
				t.Errorf("got %v, want %v and %q in\n%s", got, test.want, test.says, out)
			}
		})
	}
}

func TestPassesOnWhatIsNoEvent(t *testing.T) {
	var out strings.Builder
	got, err := summarize(strings.NewReader("go: no such module\n{}\n"), &out)
	if err != nil || got != (counts{}) || out.String() != "go: no such module\n{}\n" {
		t.Errorf("got %v, %v, %q", got, err, out.String())
	}
	if _, err := summarize(io.MultiReader(strings.NewReader("{"), failingReader{}), io.Discard); err == nil {
		t.Error("an error of the input was lost")
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
