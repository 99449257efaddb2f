package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const root = "../../.."

// TestCatalogueStillApplies holds that every mutant still finds its place in the code: one whose place a change has
// moved away would break nothing any more, and nobody would notice.
func TestCatalogueStillApplies(t *testing.T) {
	mutants, err := readCatalogue("catalogue", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if _, err := m.apply(root); err != nil {
			t.Errorf("catalogue/%s.diff: %v", m.name, err)
		}
		for _, p := range m.packages {
			if tests, _ := filepath.Glob(filepath.Join(root, p, "*_test.go")); len(tests) == 0 {
				t.Errorf("catalogue/%s.diff: %s has no tests", m.name, p)
			}
		}
	}
}

// checkout makes a git work tree of the small module in testdata.
func checkout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	if err := os.CopyFS(dir, os.DirFS("testdata/module")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "go.mod.txt"), filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	git := exec.CommandContext(t.Context(), "git", "init", "--quiet", dir)
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	t.Setenv("GOWORK", "off")
	return dir
}

// contents is the text of a file.
func contents(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func runTool(ctx context.Context, t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	args = append([]string{"-root", dir, "-copy", filepath.Join(t.TempDir(), "copy"), "-catalogue", "testdata/catalogue", "-timeout", "5s"}, args...)
	err := run(ctx, args, &out)
	return out.String(), err
}

// TestVerdicts holds that what became of a mutant is told apart, and that only a test's own failure counts for it.
func TestVerdicts(t *testing.T) {
	dir := checkout(t)
	before := contents(t, dir, "add/add.go")
	for name, want := range map[string]struct {
		says, counts string
		good         bool
	}{
		"caught":           {"caught by TestAdd/negative", "1 caught, 0 survived\n", true},
		"caught-by-panic":  {"caught by TestAdd/", "1 caught, 0 survived\n", true},
		"survives":         {"SURVIVED (1 tests were skipped)", "0 caught, 1 survived\n", false},
		"does-not-build":   {"DOES NOT BUILD", "0 caught, 0 survived\n", false},
		"never-ends":       {"TOO LATE", "0 caught, 0 survived\n", false},
		"crashes":          {"ENDED WITHOUT A TEST THAT FAILED", "0 caught, 0 survived\n", false},
		"is-nowhere":       {"add/add.go has 0 places of this text, not 1", "0 caught, 0 survived\n", false},
		"is-in-two-places": {"add/add.go has 2 places of this text, not 1", "0 caught, 0 survived\n", false},
		"no-such-mutant":   {"has 0 of the mutants that are asked for", "0 caught, 0 survived\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runTool(t.Context(), t, dir, name)
			if (err == nil) != want.good || !strings.Contains(out, want.says) || !strings.HasSuffix(out, want.counts) {
				t.Errorf("%v, want %q and %q in\n%s", err, want.says, want.counts, out)
			}
		})
	}
	if contents(t, dir, "add/add.go") != before {
		t.Error("the checkout was changed")
	}
}

// TestOneAfterTheOther holds that no mutant is left in the copy when the next one's turn comes.
func TestOneAfterTheOther(t *testing.T) {
	out, err := runTool(t.Context(), t, checkout(t), "caught", "caught-by-panic", "does-not-build", "survives")
	if err == nil || !strings.HasSuffix(out, "2 caught, 1 survived\n") || strings.Count(out, "caught by TestAdd/") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBaseline holds that nothing is judged by tests that fail by themselves, which would catch everything.
func TestBaseline(t *testing.T) {
	dir := checkout(t)
	failing := "package add\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) { t.Error(\"bad by itself\") }\n"
	if err := os.WriteFile(filepath.Join(dir, "add", "new_test.go"), []byte(failing), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := runTool(t.Context(), t, dir, "caught")
	if err == nil || !strings.Contains(out, "do not pass without any mutant") || !strings.Contains(out, "bad by itself") || !strings.HasSuffix(out, "\n0 caught, 0 survived\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCopyFollowsTheCheckout holds that the copy is what is in the checkout now, committed or not, and not what git
// ignores or what was there before.
func TestCopyFollowsTheCheckout(t *testing.T) {
	dir, to := checkout(t), filepath.Join(t.TempDir(), "copy")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".gitignore", "*.log\n")
	write("a.log", "ignored")
	write("new.txt", "new")
	link := func(target string) {
		if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	link("add") // a folder
	if err := copyCheckout(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	if contents(t, to, "new.txt") != "new" || contents(t, to, "add/add.go") != contents(t, dir, "add/add.go") {
		t.Error("the copy is another")
	}
	if _, err := os.Stat(filepath.Join(to, "a.log")); err == nil {
		t.Error("it has a file that git ignores")
	}
	if got, err := os.Readlink(filepath.Join(to, "link")); err != nil || got != "add" {
		t.Errorf("the link leads to %q: %v", got, err)
	}
	info, err := os.Stat(filepath.Join(to, "add/add.go"))
	if err != nil {
		t.Fatal(err)
	}
	write("new.txt", "newer")
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	link("new.txt")
	if err := os.Remove(filepath.Join(dir, ".gitignore")); err != nil {
		t.Fatal(err)
	}
	if err := copyCheckout(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	if contents(t, to, "new.txt") != "newer" {
		t.Error("a change was not copied")
	}
	if got, err := os.Readlink(filepath.Join(to, "link")); err != nil || got != "new.txt" {
		t.Errorf("the link that was changed leads to %q: %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(to, ".gitignore")); err == nil {
		t.Error("a file that was deleted is still there")
	}
	if now, err := os.Stat(filepath.Join(to, "add/add.go")); err != nil || !now.ModTime().Equal(info.ModTime()) {
		t.Error("a file that is the same was written again, which costs Go's cache")
	}
}

func TestUnreadableMutants(t *testing.T) {
	for name, text := range map[string]string{
		"no hunk":           "Breaks it.\ntest ./add\n",
		"no package":        "Breaks it.\n\n--- add/add.go\n-\treturn a + b\n",
		"no promise":        "test ./add\n\n--- add/add.go\n-\treturn a + b\n",
		"nothing changes":   "Breaks it.\ntest ./add\n\n--- add/add.go\n \treturn a + b\n",
		"nothing is there":  "Breaks it.\ntest ./add\n\n--- add/add.go\n+\treturn a + b\n",
		"a line of no kind": "Breaks it.\ntest ./add\n\n--- add/add.go\n-\treturn a + b\nreturn b + a\n",
	} {
		if m, err := parse("x", text); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
}

// TestTimeLimit holds that the end of the caller's context ends the tests too.
func TestTimeLimit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if out, err := runTool(ctx, t, checkout(t), "caught"); err == nil || !strings.HasSuffix(out, "0 caught, 0 survived\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
