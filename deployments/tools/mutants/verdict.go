package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// verdict is what became of a mutant.
type verdict string

const (
	caught    verdict = "caught by"
	survived  verdict = "SURVIVED"
	misplaced verdict = "NOT FOUND in the code"
	unbuilt   verdict = "DOES NOT BUILD"
	late      verdict = "TOO LATE: the tests were ended by the time limit"
	crashed   verdict = "ENDED WITHOUT A TEST THAT FAILED"
)

// result is a verdict with its reasons.
type result struct {
	verdict verdict
	tests   []string // that failed, without those that failed for a subtest of theirs
	skipped int
	output  string // of what did not go well
}

func (r result) String() string {
	text := string(r.verdict)
	if len(r.tests) > 0 {
		text += " " + r.tests[0]
	}
	if more := len(r.tests) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if r.verdict == survived && r.skipped > 0 {
		text += fmt.Sprintf(" (%d tests were skipped)", r.skipped)
	}
	return text
}

// test runs the tests of packages, those that match the pattern, until the first that fails in each.
func test(ctx context.Context, dir string, timeout time.Duration, pattern string, packages ...string) result {
	// The tests' own limit tells where they hang; this one ends what does not heed that.
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Minute)
	defer cancel()
	args := append([]string{"test", "-json", "-failfast", "-timeout=" + timeout.String(), "-run=" + pattern}, packages...)
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the packages are the catalogue's
	command.Dir = dir
	command.Env = append(os.Environ(), "GOFLAGS=", "PWD="+dir)
	command.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.Output()
	r := read(stdout)
	r.output += stderr.String()
	if r.verdict == survived && err != nil {
		r.verdict = crashed
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.verdict = late
		}
		r.output += err.Error() + "\n"
	}
	return r
}

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action, ImportPath, Package, Test, Output, FailedBuild string
}

// read judges by the events of a run.
func read(events []byte) result {
	var r result
	var failed []string
	build, timeUp, bad := false, false, false
	said := &outputs{texts: map[string]*strings.Builder{}}
	lines := bufio.NewScanner(bytes.NewReader(events))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			said.add("", lines.Text()+"\n") // what go itself says between the events
			continue
		}
		of := e.ImportPath + e.Package + " " + e.Test
		switch e.Action {
		case "build-output", "output":
			said.add(of, e.Output)
			timeUp = timeUp || strings.HasPrefix(e.Output, "panic: test timed out after ")
		case "build-fail":
			build = true
		case "pass":
			said.drop(of)
		case "skip":
			said.drop(of)
			r.skipped++
		case "fail":
			bad, build = true, build || e.FailedBuild != ""
			if e.Test != "" {
				failed = append(failed, e.Test)
			}
		}
	}
	for _, name := range failed {
		inner := func(other string) bool { return strings.HasPrefix(other, name+"/") }
		if !slices.ContainsFunc(failed, inner) {
			r.tests = append(r.tests, name)
		}
	}
	r.output = said.String()
	switch {
	case build:
		r.verdict = unbuilt
	case timeUp: // go says of the test that hung that it failed
		r.verdict = late
	case len(failed) > 0:
		r.verdict = caught
	case bad:
		r.verdict = crashed
	default:
		r.verdict = survived
	}
	return r
}

// outputs are what tests, packages and builds said, in the order of their first words.
type outputs struct {
	order []string
	texts map[string]*strings.Builder
}

func (o *outputs) add(of, text string) {
	if strings.HasPrefix(text, "=== ") { // === RUN and the like
		return
	}
	if o.texts[of] == nil {
		o.order = append(o.order, of)
		o.texts[of] = &strings.Builder{}
	}
	o.texts[of].WriteString(text)
}

// drop forgets what is not worth reading: it went well.
func (o *outputs) drop(of string) { delete(o.texts, of) }

// maxLines bounds what is printed of one run: the stacks of all goroutines are too much.
const maxLines = 60

func (o *outputs) String() string {
	var all strings.Builder
	for _, of := range o.order {
		if text := o.texts[of]; text != nil {
			all.WriteString(text.String())
			delete(o.texts, of)
		}
	}
	lines := strings.SplitAfter(all.String(), "\n")
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], "...\n")
	}
	return strings.Join(lines, "")
}
