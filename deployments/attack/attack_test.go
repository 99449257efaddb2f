package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestNothingIsLetThrough attacks a standalone, built with the race detector, with
// everything that does not wait for its patience to end or send very much.
func TestNothingIsLetThrough(t *testing.T) {
	program := filepath.Join(t.TempDir(), "standalone")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", program, "github.com/imagebatch/imagebatch/deployments/standalone")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out strings.Builder
	err := run(t.Context(), options{program: program, fast: true}, &out)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
	for name, figures := range counts(t, out.String()) {
		if figures.tried < 10 || figures.refused != figures.tried || figures.through != 0 {
			t.Errorf("%s: %+v", name, figures)
		}
	}
}

// TestWhatIsLetThroughIsTold attacks a server that takes everything. Each kind
// must tell of it, or it would tell of nothing ever.
func TestWhatIsLetThroughIsTold(t *testing.T) {
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, `{"job_id":"`+nobody+`","status":"completed","images":[{"status":"completed","original_filename":"../a","processed_path":"../a"}]}`)
	}))
	defer careless.Close()
	var out strings.Builder
	if err := run(t.Context(), options{gateway: careless.URL, fast: true, origin: "127.0.0.1:0"}, &out); err == nil {
		t.Error("a run that let attacks through ended well")
	}
	told := counts(t, out.String())
	for name, figures := range told {
		if figures.through == 0 || figures.refused+figures.through != figures.tried {
			t.Errorf("%s: %+v", name, figures)
		}
	}
	if !strings.Contains(out.String(), "FAILS") {
		t.Error("nothing was told of the honest batch, which it never makes")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// figures are those of a line of the table.
type figures struct{ tried, refused, through int }

var line = regexp.MustCompile(`(?m)^(.{30}) +(\d+) +(\d+) +(\d+)  (alive|FAILS)$`)

// counts reads the table, and holds that it has a line of each kind and that its
// last line is their sum.
func counts(t *testing.T, table string) map[string]figures {
	t.Helper()
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := map[string]figures{}
	for _, m := range line.FindAllStringSubmatch(table, -1) {
		all[strings.TrimSpace(m[1])] = figures{number(m[2]), number(m[3]), number(m[4])}
	}
	var sum figures
	for _, k := range kinds {
		f, ok := all[k.name]
		if ok == k.slow {
			t.Errorf("%s: in the table %v, slow %v", k.name, ok, k.slow)
		}
		sum = figures{sum.tried + f.tried, sum.refused + f.refused, sum.through + f.through}
	}
	if sum != all["all"] || sum.tried == 0 {
		t.Errorf("the sum of the kinds is %+v, the last line says %+v", sum, all["all"])
	}
	return all
}
