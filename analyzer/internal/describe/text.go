package describe

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on text that comes out of a file or tells about it, in bytes.
const (
	maxTextBytes    = 256
	maxWarnings     = 20
	maxWarningBytes = 200
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
