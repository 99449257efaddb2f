// Package record keeps the values of a record within their bounds. Every text of an untrusted client passes
// through it.
package record

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds, in bytes, on text from a file or about it. They keep the record below [pipeline.MaxMetadataBytes],
// even if each byte is escaped as six.
const (
	MaxText        = 256
	MaxDescription = 2048
	MaxAltText     = 1024
	MaxLanguage    = 64
	maxKeywords    = 64
	maxKeywordText = 8192 // of all keywords
	maxKeywordPath = 512
	maxCreators    = 8
	maxCreator     = 128
	maxWarnings    = 20
	maxWarning     = 200
)

// Warnings collects nonfatal problems of an image. Warnings beyond the limit are dropped.
type Warnings struct {
	List []string
}

// Add adds a warning.
func (w *Warnings) Add(format string, args ...any) {
	if len(w.List) < maxWarnings {
		w.List = append(w.List, Clean(fmt.Sprintf(format, args...), maxWarning))
	}
}

// Clean makes text of an untrusted client fit for display: valid UTF-8 without control or other invisible
// characters, trimmed, and at most limit bytes long.
func Clean(s string, limit int) string {
	// Truncate before the work, not after it.
	s = s[:min(len(s), 4*limit)]
	s = strings.Map(func(r rune) rune {
		// Emoji and some scripts, such as Persian, need the two joiners.
		if r == utf8.RuneError || unicode.IsGraphic(r) || r == '\u200c' || r == '\u200d' {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return -1
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = strings.TrimSpace(s[:cut])
	}
	return s
}

// Keywords returns the keywords of a record.
func Keywords(items []string) []string { return CleanList(items, maxKeywords, MaxText, maxKeywordText) }

// KeywordPaths returns the keywords of a record that have several levels.
func KeywordPaths(paths [][]string) []string {
	var joined []string
	for _, path := range paths {
		for i := range path {
			path[i] = Clean(path[i], MaxText)
		}
		path = slices.DeleteFunc(path, func(level string) bool { return level == "" })
		// A part of a path would be another keyword.
		if text := strings.Join(path, "|"); len(path) > 1 && len(text) <= maxKeywordPath {
			joined = append(joined, text)
		}
	}
	return CleanList(joined, maxKeywords, maxKeywordPath, maxKeywordText)
}

// Creators returns the creators of a record.
func Creators(items []string) []string {
	return CleanList(items, maxCreators, maxCreator, maxCreators*maxCreator)
}

// CleanList cleans the items of a list, drops empty and duplicate ones, and keeps at most count items of at
// most each bytes, and all bytes in total.
func CleanList(items []string, count, each, all int) []string {
	var out []string
	for _, item := range items {
		item = Clean(item, each)
		if item == "" || slices.Contains(out, item) {
			continue
		}
		if all -= len(item); len(out) == count || all < 0 {
			break
		}
		out = append(out, item)
	}
	return out
}

// Round rounds half away from zero to a number of decimals. It never returns a negative zero.
func Round(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale)/scale + 0
}
