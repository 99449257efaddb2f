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

// Bounds on text that comes out of a file or tells about it, in bytes. They keep
// the record below [pipeline.MaxMetadataBytes], even if each byte of theirs is
// written as six.
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

// warnings collects what was wrong with an image without being fatal. What is too
// much is dropped.
type warnings struct {
	list []string
}

func (w *warnings) add(format string, args ...any) {
	if len(w.list) < maxWarnings {
		w.list = append(w.list, clean(fmt.Sprintf(format, args...), maxWarningBytes))
	}
}

// clean makes text of a stranger fit to be shown: valid UTF-8 without control
// or other invisible characters, trimmed, and at most limit bytes long.
func clean(s string, limit int) string {
	// What is cut off is cut off before the work, not after it.
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

// cleanList cleans the items of a list, drops what is empty or there already, and
// keeps so many of so many bytes in all.
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

// latin1 reads text of ISO 8859-1.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// eitherText reads text whose encoding nobody tells: UTF-8 if it can be, else
// ISO 8859-1.
func eitherText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return latin1(b)
}

// wholeRunes is text that was cut off somewhere, without a rune of UTF-8 that the cut
// has broken: it would make Latin-1 of all the text.
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

// inflate is at most the first limit bytes of a zlib stream, nil when there are
// none. What a damaged one gives before the damage counts.
func inflate(stream []byte, limit int64) []byte {
	r, err := zlib.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(r, limit)) // See above.
	return out
}
