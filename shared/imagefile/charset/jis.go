package charset

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

const escape = 0x1b

// JIS decodes Japanese text up to its first zero. EXIF means the bare codes of JIS X 0208, of two bytes each. Programs
// also write ISO-2022-JP, which switches to these codes with escape sequences, Shift JIS, EUC, UTF-8 and ASCII.
func JIS(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	b = bytes.TrimRight(b, " ")
	var attempts []encoding.Encoding
	switch {
	case bytes.IndexByte(b, escape) >= 0:
		attempts = []encoding.Encoding{japanese.ISO2022JP}
	case bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf }):
		if utf8.Valid(b) {
			return string(b)
		}
		attempts = []encoding.Encoding{japanese.ShiftJIS, japanese.EUCJP}
	case len(b)%2 == 0:
		b = append([]byte("\x1b$B"), b...)
		attempts = []encoding.Encoding{japanese.ISO2022JP}
	}
	for _, e := range attempts {
		text, err := e.NewDecoder().Bytes(b)
		if err == nil && !strings.ContainsRune(string(text), utf8.RuneError) {
			return string(text)
		}
	}
	return Guess(bytes.TrimPrefix(b, []byte("\x1b$B")))
}
