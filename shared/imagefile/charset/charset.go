// Package charset decodes the texts of embedded metadata, whose encoding is often not stated.
package charset

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Latin1 decodes ISO 8859-1.
func Latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// Guess decodes text of unknown encoding: as UTF-8 if it is valid, else as ISO 8859-1.
func Guess(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return Latin1(b)
}

// UTF16 decodes UTF-16 in the given byte order.
func UTF16(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// WholeRunes returns truncated text without the last UTF-8 rune if the truncation broke it. Otherwise [Guess]
// would decode all of the text as ISO 8859-1.
func WholeRunes(b []byte) []byte {
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
