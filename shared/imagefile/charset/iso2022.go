package charset

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// sets contains the character sets that a file can declare, by the last byte of their escape sequence (ISO 2022, and
// the ISO International Register of Coded Character Sets).
var sets = map[byte]*charmap.Charmap{
	'A': charmap.Windows1252, // ISO 8859-1
	'B': charmap.ISO8859_2, 'C': charmap.ISO8859_3, 'D': charmap.ISO8859_4, 'L': charmap.ISO8859_5, 'G': charmap.ISO8859_6,
	'F': charmap.ISO8859_7, 'H': charmap.ISO8859_8, 'M': charmap.ISO8859_9, 'V': charmap.ISO8859_10, 'Y': charmap.ISO8859_13,
	'_': charmap.ISO8859_14, 'b': charmap.ISO8859_15, 'f': charmap.ISO8859_16,
}

// names contains the names that some programs write instead of an escape sequence, without their punctuation.
var names = map[string]*charmap.Charmap{
	"ASCII": charmap.Windows1252, "USASCII": charmap.Windows1252, "LATIN1": charmap.Windows1252, "ISO88591": charmap.Windows1252,
	"ISO885915": charmap.ISO8859_15, "LATIN9": charmap.ISO8859_15, "WINDOWS1252": charmap.Windows1252, "CP1252": charmap.Windows1252,
}

// Declared returns the decoder for a character set that a file declares as ISO 2022 does, such as ESC % G for UTF-8
// and ESC . A or ESC - A for ISO 8859-1. If the set is unknown, known is false, and the decoder is [Guess].
func Declared(declaration []byte) (decode func([]byte) string, known bool) {
	text := strings.TrimSpace(strings.Trim(string(declaration), "\x00"))
	if text == "" {
		return Guess, true
	}
	// Some programs wrote the full stop of ESC . A as a bullet, in UTF-8.
	sequences := strings.Split(strings.ReplaceAll(text, "\u2022", "."), "\x1b")
	if len(sequences) == 1 {
		return named(text)
	}
	decode = Guess
	for _, s := range sequences[1:] {
		switch s = strings.TrimSpace(s); {
		case s == "%G" || s == "%/G" || s == "%/H" || s == "%/I":
			decode, known = Guess, true // text that is not the declared UTF-8 is Windows-1252
		case len(s) == 2 && strings.IndexByte(",-./", s[0]) >= 0 && sets[s[1]] != nil:
			set := sets[s[1]]
			decode, known = func(b []byte) string { return singleByte(set, b) }, true
		case len(s) == 2 && s[0] == '(' && (s[1] == 'B' || s[1] == '@'):
			known = true // ASCII, in addition to the other sets
		default:
			return Guess, false
		}
	}
	return decode, known
}

// named returns the decoder for a character set that a file declares by its name.
func named(name string) (decode func([]byte) string, known bool) {
	name = strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, strings.ToUpper(name))
	if name == "UTF8" {
		return Guess, true
	}
	if set := names[name]; set != nil {
		return func(b []byte) string { return singleByte(set, b) }, true
	}
	return Guess, false
}
