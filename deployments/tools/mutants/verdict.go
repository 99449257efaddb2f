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
	output  string // what there is to read about a verdict other than caught
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

// test runs the tests of packages until the first that fails in each.
func test(ctx context.Context, dir string, timeout time.Duration, packages ...string) result {
	// The tests' own limit tells where they hang; this one ends what does not heed that.
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Minute)
	defer cancel()
	args := append([]string{"test", "-json", "-failfast", "-timeout=" + timeout.String()}, packages...)
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

// read judges by the events of a run. That of a test which failed by itself counts most: it is what a person would read
// first, however the process ended after that.
func read(events []byte) result {
	var r result
	var failed []string
	var output strings.Builder
	build, timeUp, bad := false, false, false
	lines := bufio.NewScanner(bytes.NewReader(events))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			output.WriteString(lines.Text() + "\n")
			continue
		}
		switch e.Action {
		case "build-output", "output":
			output.WriteString(e.Output)
			timeUp = timeUp || strings.HasPrefix(e.Output, "panic: test timed out after ")
		case "build-fail":
			build = true
		case "skip":
			r.skipped++
		case "fail":
			if e.Test != "" {
				failed = append(failed, e.Test)
			}
			bad, build = true, build || e.FailedBuild != ""
		}
	}
	for _, name := range failed {
		inner := func(other string) bool { return strings.HasPrefix(other, name+"/") }
		if !slices.ContainsFunc(failed, inner) {
			r.tests = append(r.tests, name)
		}
	}
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
	if r.verdict != survived {
		r.output = output.String()
	}
	return r
}
