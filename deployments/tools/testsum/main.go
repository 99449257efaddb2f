// Testsum reads the output of `go test -json` from standard input and tells a person what happened: one line for each
// package, the whole output of what failed, and at the very end one line
//
//	N passed, N failed, N skipped
//
// which counts the tests and subtests that have no subtests of their own. A failure that belongs to no such test (a
// package that does not build, a TestMain that ends badly, a parent that fails by itself, a test that never ended) counts
// as one failed, so that nothing that went wrong is counted as nothing. It exits with 1 when something failed, when no
// test passed, and with -strict when one was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	strict := flag.Bool("strict", false, "a skipped test is an error")
	log := flag.String("log", "", "write the events to this `file` as well")
	flag.Parse()

	input := io.Reader(os.Stdin)
	if *log != "" {
		file, err := os.Create(*log)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
		defer file.Close()
		input = io.TeeReader(os.Stdin, file)
	}
	counts, err := summarize(input, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	fmt.Println(counts)
	if err != nil || counts.failed > 0 || counts.passed == 0 || *strict && counts.skipped > 0 {
		os.Exit(1)
	}
}

// event is one line of `go test -json`, as `go doc test2json` describes it; build events have an ImportPath instead of a
// Package.
type event struct {
	Action      string
	ImportPath  string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

type counts struct {
	passed, failed, skipped int
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// key names a test, or with an empty test a package.
type key struct{ pkg, test string }

// run is what is known of one test or package while it lasts.
type run struct {
	output   strings.Builder
	hasTests bool // it has tests (a package) or subtests (a test)
	failures int  // failures counted below it
}

// summary collects runs. A run is dropped when its package ends, so that -count=20 counts each repetition.
type summary struct {
	counts

	out    io.Writer
	runs   map[key]*run
	builds map[string]*strings.Builder
	told   map[string]bool // import paths whose build errors were printed
}

// summarize reads events to the end and writes the report, all but its last line.
func summarize(in io.Reader, out io.Writer) (counts, error) {
	s := &summary{
		out:    out,
		runs:   map[key]*run{},
		builds: map[string]*strings.Builder{},
		told:   map[string]bool{},
	}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprint(out, string(line)) // what go itself says between the events
			} else {
				s.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.counts, err
		}
	}
	s.unended("")
	return s.counts, nil
}

func (s *summary) run(k key) *run {
	r := s.runs[k]
	if r == nil {
		r = &run{}
		s.runs[k] = r
	}
	return r
}

// parent is the run of the test that a subtest belongs to, or of the package of a test. A subtest's own name may hold a
// slash, so the parent is the longest beginning of its name that is a test's.
func (s *summary) parent(k key) *run {
	for k.test != "" {
		slash := strings.LastIndexByte(k.test, '/')
		k.test = k.test[:max(slash, 0)]
		if r := s.runs[k]; r != nil {
			return r
		}
	}
	return s.run(k)
}

func (s *summary) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &strings.Builder{}
		}
		s.builds[e.ImportPath].WriteString(e.Output)
	case "output":
		if r := s.run(k); !strings.HasPrefix(e.Output, "=== ") { // not === RUN and the like
			r.output.WriteString(e.Output)
		}
	case "run":
		s.run(k)
		s.parent(k).hasTests = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(k, e.Action)
		}
	}
}

func (s *summary) endTest(k key, action string) {
	r := s.run(k)
	delete(s.runs, k)
	switch {
	case action == "pass" && !r.hasTests:
		s.passed++
	case action == "skip":
		s.skipped++
		fmt.Fprintf(s.out, "SKIP  %s %s: %s\n", k.pkg, k.test, reason(r.output.String()))
	case action == "fail":
		if r.failures == 0 {
			s.failed++
			r.failures++
		}
		fmt.Fprintf(s.out, "\n%s\n%s", k.pkg, r.output.String())
	}
	s.parent(k).failures += r.failures
}

// endPackage prints the package's line. Its own output is worth reading only when no test of it explains the failure.
func (s *summary) endPackage(e event) {
	k := key{e.Package, ""}
	s.unended(e.Package)
	r := s.run(k)
	delete(s.runs, k)
	switch {
	case e.Action == "fail":
		if build := s.builds[e.FailedBuild]; build != nil && !s.told[e.FailedBuild] {
			s.told[e.FailedBuild] = true
			fmt.Fprintf(s.out, "\n%s", build.String())
		}
		if r.failures == 0 {
			s.failed++
			fmt.Fprintf(s.out, "\n%s\n%s", k.pkg, r.output.String())
		}
		fmt.Fprintf(s.out, "FAIL  %s %.1fs\n", k.pkg, e.Elapsed)
	case e.Action == "pass" && r.hasTests:
		fmt.Fprintf(s.out, "ok    %s %.1fs\n", k.pkg, e.Elapsed)
	}
}

// unended counts the innermost tests that began and never ended, in one package or with "" in all: a panic, an exit or
// the time limit took the process away, and the output of the test or of the package says which.
func (s *summary) unended(pkg string) {
	var left []key
	for k := range s.runs {
		if k.test != "" && (pkg == "" || k.pkg == pkg) {
			left = append(left, k)
		}
	}
	// Subtests sort behind their parents.
	slices.SortFunc(left, func(a, b key) int {
		return strings.Compare(b.pkg+" "+b.test, a.pkg+" "+a.test)
	})
	for _, k := range left {
		s.endTest(k, "fail")
	}
	if pkg != "" {
		return
	}
	for k, r := range s.runs {
		if r.output.Len() > 0 && r.failures == 0 {
			s.failed++
			fmt.Fprintf(s.out, "\n%s never ended\n%s", k.pkg, r.output.String())
		}
	}
}

// reason is what a skipped test said: the last line of its output but the one that tells that it was skipped.
func reason(output string) string {
	said := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "---") {
			said = line
		}
	}
	return said
}
