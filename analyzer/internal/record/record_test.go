package record

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWarningsAndTextsAreBounded(t *testing.T) {
	var w Warnings
	for i := range 1000 {
		w.Add("%d: %s", i, strings.Repeat("é\x00\xff", 500))
	}
	if len(w.List) != maxWarnings {
		t.Errorf("%d warnings", len(w.List))
	}
	for _, s := range append(w.List, Clean(strings.Repeat("日本", 500), MaxText), Clean(strings.Repeat("\xff", 999), MaxText)) {
		if len(s) > MaxText || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
}

func TestKeywordsAreBounded(t *testing.T) {
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprint("keyword ", i%100), "")
	}
	if got := Keywords(many); len(got) != maxKeywords || got[1] != "keyword 1" {
		t.Errorf("%d keywords: %q", len(got), got)
	}
}
