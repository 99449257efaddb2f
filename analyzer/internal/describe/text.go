package describe

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds, in bytes, on text from a file or about it. They keep the record below [pipeline.MaxMetadataBytes],
// even if each byte is escaped as six.
const (
	maxTextBytes        = 256
	maxDescriptionBytes = 2048
	maxKeywords         = 64
	maxKeywordsBytes    = 8192 // of all keywords
	maxCreators         = 8
	maxCreatorBytes     = 128
	maxWarnings         = 20
	maxWarningBytes     = 200
)

// warnings collects nonfatal problems of an image. Warnings beyond the limit are dropped.
type warnings struct {
	list []string
}

func (w *warnings) add(format string, args ...any) {
	if len(w.list) < maxWarnings {
		w.list = append(w.list, clean(fmt.Sprintf(format, args...), maxWarningBytes))
	}
}

// clean makes text of an untrusted client fit for display: valid UTF-8 without control or other invisible
// characters, trimmed, and at most limit bytes long.
func clean(s string, limit int) string {
	// Truncate before the work, not after it.
	s = s[:min(len(s), 4*limit)]
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsGraphic(r) {
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

// cleanList cleans the items of a list, drops empty and duplicate ones, and keeps at most count items of at
// most each bytes, and all bytes in total.
func cleanList(items []string, count, each, all int) []string {
	var out []string
	for _, item := range items {
		item = clean(item, each)
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

// latin1 reads text in ISO 8859-1.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// eitherText reads text of unknown encoding: as UTF-8 if it is valid, else as ISO 8859-1.
func eitherText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return latin1(b)
}

// wholeRunes returns truncated text without the last UTF-8 rune if the truncation broke it. Otherwise all the
// text would be read as Latin-1.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// inflate returns at most the first limit bytes of a zlib stream, or nil. The output of a damaged stream before
// the damage is kept.
func inflate(stream []byte, limit int64) []byte {
	r, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(r, limit)) // see the function's comment
	return out
}
