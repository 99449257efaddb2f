package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCompareVersions compares HEAD with the working tree under the smallest load. It does not
// check whether they differ.
func TestCompareVersions(t *testing.T) {
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" {
		t.Skip("TEST_RABBITMQ_URL and TEST_S3_ENDPOINT are not set: no servers to test with")
	}
	dir := t.TempDir()
	text, err := compareVersions(t.Context(), repository, dir, "HEAD", tinyPairs)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(text)
	checkColumns(t, text, 4) // one table for each unit
	rows := map[string]string{
		"Gateway": "cpu-ms/image", "Analyzer": "cpu-ms/image", "Processor": "cpu-ms/image", "RabbitMQ": "cpu-ms/image",
		"Store": "cpu-ms/image", "AllFive": "cpu-ms/image", "Batch": "images/s", "Single": "ms/job",
	}
	for _, results := range []string{"base.txt", "tree.txt"} {
		lines, err := os.ReadFile(filepath.Join(dir, results))
		if err != nil {
			t.Fatal(err)
		}
		for row, unit := range rows {
			found := regexp.MustCompile(`(?m)^Benchmark`+row+` \d+ ([\d.]+) `+unit+`( (\d+) peak-B)?$`).FindAllStringSubmatch(string(lines), -1)
			if len(found) != tinyPairs.rounds {
				t.Errorf("%s has %d results for %s in %s, want one for each of %d rounds", results, len(found), row, unit, tinyPairs.rounds)
			}
			for _, m := range found {
				// A process may process three images in less time than the resolution of /proc.
				if value, err := strconv.ParseFloat(m[1], 64); err != nil || value == 0 && slices.Contains([]string{"AllFive", "Batch", "Single"}, row) {
					t.Errorf("%s: %q", results, m[0])
				}
				isService := slices.Contains(services, strings.ToLower(row))
				if peak, _ := strconv.Atoi(m[3]); isService != (peak > 1<<20) {
					t.Errorf("%s: %q: peak of %d bytes", results, m[0], peak)
				}
			}
			if !regexp.MustCompile(`(?m)^` + row + ` .*\(p=.* n=` + strconv.Itoa(tinyPairs.rounds) + `\)`).MatchString(text) {
				t.Errorf("the comparison has no row %s with %d rounds", row, tinyPairs.rounds)
			}
		}
	}
	for _, unit := range []string{"cpu-ms/image", "peak-B", "images/s", "ms/job"} {
		if !strings.Contains(text, unit) {
			t.Errorf("the comparison has no table of %s", unit)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "servers", "run", "*.pid"))
	if err != nil || len(left) > 0 {
		t.Errorf("still running: %v, %v", left, err)
	}
}

// checkColumns verifies that each table has a column for the base and one for the working tree, and
// that the sources of the base are removed.
func checkColumns(t *testing.T, text string, tables int) {
	t.Helper()
	head, err := git(t.Context(), repository, "rev-parse", "--short", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	header := regexp.MustCompile(`(?m)│ +base ` + head + ` +│ +tree ` + head + `(-dirty)? +│`)
	if n := len(header.FindAllString(text, -1)); n != tables {
		t.Errorf("%d tables have the columns of both versions, want %d:\n%s", n, tables, text)
	}
}

// TestCompareBenchmarks compares a Go benchmark of HEAD with that of the working tree.
func TestCompareBenchmarks(t *testing.T) {
	dir := t.TempDir()
	text, err := compareBenchmarks(t.Context(), repository, dir, "HEAD", []string{"-bench=^BenchmarkParse$", "-benchtime=1x", "-count=2"})
	if err != nil {
		t.Fatal(err)
	}
	checkColumns(t, text, 3) // sec/op, B/op, allocs/op
	if !strings.Contains(text, "pkg: github.com/imagebatch/imagebatch/analyzer/internal/colorprofile\n") || !strings.Contains(text, "n=2)") {
		t.Errorf("the comparison is not that of two rounds of one package:\n%s", text)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "base")); err != nil || len(left) > 0 {
		t.Errorf("the sources of HEAD were not removed: %v, %v", left, err)
	}
	for _, pattern := range []string{"NoSuchBenchmark", "^BenchmarkParse$/nosuch"} {
		_, err = compareBenchmarks(t.Context(), repository, dir, "HEAD", []string{"-bench=" + pattern, "-count=1"})
		if err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("-bench=%s returned %v", pattern, err)
		}
	}
}

// TestInTurn verifies that both versions run in each round, and that neither is always the first.
func TestInTurn(t *testing.T) {
	var order []string
	for n := range 4 {
		if err := inTurn(n, []*variant{{name: "base"}, {name: "tree"}}, func(v *variant) error {
			order = append(order, v.name)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want := strings.Fields("base tree tree base base tree tree base"); !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestCutFlag(t *testing.T) {
	for _, c := range []struct {
		args, value, others string
	}{
		{"-bench=Settle -count=6", "6", "-bench=Settle"},
		{"--count 6 -benchtime=1x", "6", "-benchtime=1x"},
		{"-cpu=1,2 -count=3 -count=4", "4", "-cpu=1,2"},
		{"count -benchtime 1x", "default", "count -benchtime 1x"},
	} {
		value, others := cutFlag(strings.Fields(c.args), "count", "default")
		if value != c.value || strings.Join(others, " ") != c.others {
			t.Errorf("%s: got %q and %q", c.args, value, others)
		}
	}
}

// newRepository returns a git repository with one commit on main.
func newRepository(t *testing.T) (root string, run func(args ...string) string) {
	t.Helper()
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "Test")
		t.Setenv("GIT_"+who+"_EMAIL", "test@example.com")
	}
	root = t.TempDir()
	run = func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), root, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("init", "--quiet", "--initial-branch=main")
	run("commit", "--quiet", "--allow-empty", "--message=Add nothing")
	return root, run
}

// TestBaseCommit verifies the commit that the working tree is compared with.
func TestBaseCommit(t *testing.T) {
	root, run := newRepository(t)
	short := func(ref string) string { return run("rev-parse", "--short", ref) }
	check := func(ref, want string) {
		t.Helper()
		if got, err := baseCommit(t.Context(), root, ref); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", ref, got, err, want)
		}
	}
	run("commit", "--quiet", "--allow-empty", "--message=Add more")
	check("HEAD", short("main"))
	check(automatic, short("main^"))
	file := filepath.Join(root, "new.go")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(automatic, short("main")) // only the changes are compared
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	run("switch", "--quiet", "--create", "branch")
	for range 2 {
		run("commit", "--quiet", "--allow-empty", "--message=Add to the branch")
	}
	check(automatic, short("main"))
	check("HEAD^", short("HEAD^"))
	run("branch", "--quiet", "-D", "main")
	check(automatic, short("HEAD^"))
	for _, ref := range []string{"nosuch", "--all", ""} {
		if _, err := baseCommit(t.Context(), root, ref); err == nil || !strings.Contains(err.Error(), ref+" is not a commit") {
			t.Errorf("%q: got %v", ref, err)
		}
	}
}

// TestBrokenBase verifies that the error names a base that does not build, with the error of the
// compiler, and that its sources are removed.
func TestBrokenBase(t *testing.T) {
	root, run := newRepository(t)
	command := filepath.Join(root, "gateway", "cmd", "gateway")
	stop := filepath.Join(root, "deployments", "local", "servers.sh")
	for file, text := range map[string]string{
		filepath.Join(root, "gateway", "go.mod"): "module example.com/gateway\n",
		filepath.Join(command, "main.go"):        "package main\n\nfunc main() { missing() }\n",
		stop:                                     "#!/bin/sh\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil { //nolint:gosec // One is a script.
			t.Fatal(err)
		}
	}
	run("add", ".")
	run("commit", "--quiet", "--message=Break the gateway")
	dir := t.TempDir()
	_, err := compareVersions(t.Context(), root, dir, "HEAD", tinyPairs)
	want := "build base " + run("rev-parse", "--short", "HEAD")
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "undefined: missing") {
		t.Errorf("got %v, want %s: … undefined: missing", err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "base", "sources")); !os.IsNotExist(err) {
		t.Errorf("the sources were not removed: %v", err)
	}
}
