// Package charset decodes the texts of embedded metadata, whose encoding is often not stated, or stated wrongly. It
// drops no byte silently: one that stands for no character becomes U+FFFD.
package charset

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Latin1 decodes ISO 8859-1.
func Latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// Guess decodes text of unknown encoding: as UTF-8 if it is valid, else as Windows-1252, which contains all
// printable characters of ISO 8859-1.
func Guess(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return singleByte(charmap.Windows1252, b)
}

// singleByte decodes text in a character set of one byte per character. In those of ISO 8859, 0x80 to 0x9f are
// control codes, which no text contains; programs that write them mean Windows-1252.
func singleByte(set *charmap.Charmap, b []byte) string {
	var text strings.Builder
	text.Grow(len(b))
	for _, c := range b {
		r := set.DecodeByte(c)
		if c >= 0x80 && c < 0xa0 {
			r = charmap.Windows1252.DecodeByte(c)
		}
		text.WriteRune(r)
	}
	return text.String()
}

// UTF16 decodes UTF-16 in the given byte order.
func UTF16(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// GuessUTF16 decodes UTF-16 up to its first zero. If there is no byte order mark, it prefers the order that the
// text suggests over the stated one: some programs always write the order of their own processor.
func GuessUTF16(b []byte, stated binary.ByteOrder) string {
	var order binary.ByteOrder
	switch {
	case len(b) >= 2 && b[0] == 0xfe && b[1] == 0xff:
		b, order = b[2:], binary.BigEndian
	case len(b) >= 2 && b[0] == 0xff && b[1] == 0xfe:
		b, order = b[2:], binary.LittleEndian
	default:
		order = suggestedOrder(b, stated)
	}
	text, _, _ := strings.Cut(UTF16(b, order), "\x00")
	return text
}

// suggestedOrder returns the byte order in which the text contains surrogates in pairs, or varies more in its low
// bytes than in its high ones. The high bytes of a script are few, and zero in the Latin scripts.
func suggestedOrder(b []byte, stated binary.ByteOrder) binary.ByteOrder {
	var seen [2][256]bool
	var different, zeros, pairs [2]int
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			break
		}
		for half, c := range b[i : i+2] {
			if i+3 < len(b) && c&^3 == 0xd8 && b[i+2+half]&^3 == 0xdc {
				pairs[half]++
			}
			if !seen[half][c] {
				seen[half][c] = true
				different[half]++
			}
			if c == 0 {
				zeros[half]++
			}
		}
	}
	switch {
	case pairs[0] != pairs[1]:
		if pairs[0] > pairs[1] {
			return binary.BigEndian
		}
		return binary.LittleEndian
	case different[0] < different[1], different[0] == different[1] && zeros[0] > zeros[1]:
		return binary.BigEndian
	case different[0] > different[1], zeros[0] < zeros[1]:
		return binary.LittleEndian
	default:
		return stated
	}
}

// WholeRunes returns truncated text without the last UTF-8 rune if the truncation broke it. Otherwise [Guess]
// would decode all of the text as Windows-1252.
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
