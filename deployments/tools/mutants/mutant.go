package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one way to break a promise of the code. Its file begins with what it breaks, in one sentence, and goes on
// with a line `test PACKAGE...`, which -run=PATTERN may narrow where a package's tests take long or measure time, and with
// hunks as diff writes them, but without line numbers, so that the rest of a file may change:
//
//	--- shared/stage/worker.go
//	 	a line that stays
//	-	a line that is there
//	+	a line in its place
type mutant struct {
	name     string
	breaks   string
	packages []string
	run      string // narrows the tests; all without it
	hunks    []hunk
}

// hunk puts one text, of whole lines, in the place of another.
type hunk struct {
	file     string
	old, new string
}

// readCatalogue reads the named mutants of a folder, or all, in the order of their file names.
func readCatalogue(dir string, names []string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.diff"))
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".diff")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m, err := parse(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		mutants = append(mutants, m)
	}
	if len(mutants) < max(1, len(names)) {
		return nil, fmt.Errorf("%s has %d of the mutants that are asked for", dir, len(mutants))
	}
	return mutants, nil
}

func parse(name, text string) (mutant, error) {
	m := mutant{name: name}
	head, rest, found := strings.Cut(text, "\n--- ")
	if !found {
		return mutant{}, errors.New("no hunk")
	}
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		if packages, isTest := strings.CutPrefix(line, "test "); isTest {
			for word := range strings.FieldsSeq(packages) {
				if pattern, isRun := strings.CutPrefix(word, "-run="); isRun {
					m.run = pattern
				} else {
					m.packages = append(m.packages, word)
				}
			}
		} else if line != "" {
			m.breaks = strings.TrimSpace(m.breaks + " " + line)
		}
	}
	if m.breaks == "" || len(m.packages) == 0 {
		return mutant{}, errors.New("it does not say what it breaks or which packages test that")
	}
	for section := range strings.SplitSeq(rest, "\n--- ") {
		h, err := parseHunk(section)
		if err != nil {
			return mutant{}, err
		}
		m.hunks = append(m.hunks, h)
	}
	return m, nil
}

func parseHunk(section string) (hunk, error) {
	file, body, _ := strings.Cut(section, "\n")
	h := hunk{file: strings.TrimSpace(file)}
	var from, to strings.Builder
	for line := range strings.Lines(strings.TrimRight(body, "\n") + "\n") {
		switch line[0] {
		case ' ':
			from.WriteString(line[1:])
			to.WriteString(line[1:])
		case '-':
			from.WriteString(line[1:])
		case '+':
			to.WriteString(line[1:])
		case '\n': // an empty line that stays, whose space some editor has taken away
			from.WriteString(line)
			to.WriteString(line)
		default:
			return hunk{}, fmt.Errorf("%s: a line of a hunk begins with none of space, - and +: %q", h.file, line)
		}
	}
	h.old, h.new = from.String(), to.String()
	if h.old == "" || h.old == h.new {
		return hunk{}, fmt.Errorf("%s: the hunk changes nothing, or nothing that is there", h.file)
	}
	return h, nil
}

// change is what a mutant makes of files: their texts before and after, by path.
type change struct {
	before, after map[string]string
}

// apply finds the mutant's places below dir and writes nothing. Each must be there exactly once: otherwise the code has
// moved away under the mutant, which would say nothing any more.
func (m mutant) apply(dir string) (change, error) {
	c := change{before: map[string]string{}, after: map[string]string{}}
	for _, h := range m.hunks {
		path := filepath.Join(dir, filepath.FromSlash(h.file))
		if _, read := c.after[path]; !read {
			text, err := os.ReadFile(path)
			if err != nil {
				return change{}, err
			}
			c.before[path], c.after[path] = string(text), string(text)
		}
		text := "\n" + c.after[path]
		if n := strings.Count(text, "\n"+h.old); n != 1 {
			return change{}, fmt.Errorf("%s has %d places of this text, not 1:\n%s", h.file, n, h.old)
		}
		c.after[path] = strings.Replace(text, "\n"+h.old, "\n"+h.new, 1)[1:]
	}
	return c, nil
}

func (c change) write() error { return writeAll(c.after) }

// undo makes it as if nothing had been. A copy that cannot be written ends the run with the next mutant.
func (c change) undo() { _ = writeAll(c.before) }

func writeAll(texts map[string]string) error {
	for path, text := range texts {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
