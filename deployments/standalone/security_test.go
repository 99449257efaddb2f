package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// places are the files and folders of the repository that a document names.
var places = regexp.MustCompile("`((?:gateway|analyzer|processor|shared|deployments|docs)/[^`]*)`")

// TestContributingNamesExistingFiles verifies that each file and folder that CONTRIBUTING.md names exists.
func TestContributingNamesExistingFiles(t *testing.T) {
	named := places.FindAllStringSubmatch(string(readFile(t, "../../CONTRIBUTING.md")), -1)
	for _, m := range named {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("CONTRIBUTING.md names a file that does not exist: %v", err)
		}
	}
	if len(named) < 20 {
		t.Errorf("%d names were found in CONTRIBUTING.md, want at least 20", len(named))
	}
}

// TestSecurityNamesExistingTests verifies that each file and folder that docs/security.md
// names exists, and that each test is in the folder of a file named in the same table row or
// list item.
func TestSecurityNamesExistingTests(t *testing.T) {
	text := string(readFile(t, "../../docs/security.md"))
	tests := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	found := 0
	for _, point := range regexp.MustCompile(`\n(?:\n|\||- )`).Split(text, -1) {
		var code strings.Builder
		for _, m := range places.FindAllStringSubmatch(point, -1) {
			place := filepath.Join("../..", m[1])
			info, err := os.Stat(place)
			if err != nil {
				t.Errorf("a named file does not exist: %v", err)
				continue
			}
			if !info.IsDir() {
				place = filepath.Dir(place)
			}
			files, err := filepath.Glob(filepath.Join(place, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				code.Write(readFile(t, file))
			}
		}
		for _, m := range tests.FindAllStringSubmatch(point, -1) {
			found++
			if !strings.Contains(code.String(), "\nfunc "+m[1]+"(") {
				t.Errorf("%s is not in the named folders, in: %s", m[1], point)
			}
		}
	}
	if found < 50 || strings.Count(text, "`Test")+strings.Count(text, "`Fuzz") != found {
		t.Errorf("only %d of the named tests were checked", found)
	}
}
