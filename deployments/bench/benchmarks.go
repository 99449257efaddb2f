package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compareBenchmarks runs the selected Go benchmarks of a commit and of the working tree in turn, and
// returns their comparison. The arguments are flags of go test, of which -bench and -count have the
// defaults . and 6. The benchmarks use the servers that the environment names.
func compareBenchmarks(ctx context.Context, root, dir, ref string, args []string) (string, error) {
	pattern, args := cutFlag(args, "bench", ".")
	number, args := cutFlag(args, "count", "6")
	count, err := strconv.Atoi(number)
	if err != nil || count < 1 {
		return "", fmt.Errorf("-count=%s is not a number of rounds", number)
	}
	// The part before the first slash selects the function, the rest its sub-benchmarks. With several
	// alternatives, all packages with benchmarks are built, and go test selects.
	function, _, sub := strings.Cut(pattern, "/")
	if sub && strings.Contains(pattern, "|") {
		function = "."
	}
	matching, err := regexp.Compile(function)
	if err != nil {
		return "", fmt.Errorf("-bench=%s: %w", pattern, err)
	}
	base, tree, remove, err := twoVersions(ctx, root, dir, ref)
	if err != nil {
		return "", err
	}
	defer remove()
	before, err1 := base.benchmarked(ctx, matching)
	after, err2 := tree.benchmarked(ctx, matching)
	if err := errors.Join(err1, err2, base.begin(""), tree.begin("")); err != nil {
		return "", err
	}
	packages := slices.DeleteFunc(after, func(name string) bool { return !slices.Contains(before, name) })
	if len(packages) == 0 {
		return "", fmt.Errorf("no package has a benchmark that -bench=%s selects in both versions", pattern)
	}
	args = slices.Concat([]string{"test", "-run=^$", "-benchmem"}, args, []string{"-bench=" + pattern, "-count=1"}, packages)
	for n := range count {
		if err := inTurn(n, []*variant{base, tree}, func(v *variant) error {
			progress("round %d of %d: %s", n+1, count, v.name)
			out, err := v.workspace(ctx, args...)
			if err != nil {
				return err
			}
			return v.record(out)
		}); err != nil {
			return "", err
		}
	}
	text, err := benchstat(ctx, base, tree)
	if err == nil && text == "" {
		err = fmt.Errorf("-bench=%s selects no benchmark in %s", pattern, strings.Join(packages, " "))
	}
	return text, err
}

// cutFlag removes a flag from the arguments. It returns the last value, or a default.
func cutFlag(args []string, name, value string) (string, []string) {
	var others []string
	for i := 0; i < len(args); i++ {
		flag, assigned, found := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[i], "-"), "-"), "=")
		switch {
		case flag != name || !strings.HasPrefix(args[i], "-"):
			others = append(others, args[i])
		case found:
			value = assigned
		case i+1 < len(args):
			i++
			value = args[i]
		}
	}
	return value, others
}

// benchmarked returns the packages of the workspace with a matching benchmark. It reads the test
// files instead of building them, because most packages have none.
func (v *variant) benchmarked(ctx context.Context, matching *regexp.Regexp) ([]string, error) {
	const format = `{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}`
	list, err := v.workspace(ctx, "list", "-f", format, "work")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	function := regexp.MustCompile(`(?m)^func (Benchmark\w*)\(`)
	var packages []string
	for line := range strings.Lines(list) {
		name, file, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || slices.Contains(packages, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read test: %w", err)
		}
		for _, m := range function.FindAllSubmatch(text, -1) {
			if matching.Match(m[1]) {
				packages = append(packages, name)
				break
			}
		}
	}
	return packages, nil
}

// workspace runs a go command in the workspace, and returns what it prints.
func (v *variant) workspace(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // The arguments come from the developer.
	cmd.Dir, cmd.Env = v.root, append(os.Environ(), "GOWORK=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), nil
}
