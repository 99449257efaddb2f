package body

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// piece reads the next part of a string: a run of plain ASCII in the window, or one other
// character, unescaped. The piece is valid until the next call. At the closing quote, which
// it consumes, end is true.
func (s *scanner) piece() (piece []byte, end bool, err error) {
	if err := s.fill(1); err != nil {
		return nil, false, err
	}
	if n := plain(s.window[s.at:]); n > 0 {
		s.at += n
		return s.window[s.at-n : s.at], false, nil
	}
	var char rune
	switch c := s.window[s.at]; {
	case c == '"':
		s.next()
		return nil, true, nil
	case c == '\\':
		char, err = s.escape()
	case c < ' ':
		err = s.unexpected(c)
	default:
		char, err = s.multibyte()
	}
	if err != nil {
		return nil, false, err
	}
	return utf8.AppendRune(s.char[:0], char), false, nil
}

// plain returns the number of leading bytes of b that stand for themselves in a string: ASCII
// except quote, backslash and control characters. It checks eight bytes at a time (SWAR:
// https://graphics.stanford.edu/~seander/bithacks.html, "Determine if a word has a byte less
// than n" and "has a zero byte"; false positives occur only above a true positive, and only
// the lowest one counts).
func plain(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote, slash := w^ones*'"', w^ones*'\\'
		special := (w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash | w
		if special &= highs; special != 0 {
			return n + bits.TrailingZeros64(special)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return n
}

// multibyte reads one non-ASCII UTF-8 character.
func (s *scanner) multibyte() (rune, error) {
	for want := 2; !utf8.FullRune(s.window[s.at:]); want++ {
		if err := s.fill(want); err != nil {
			return 0, err
		}
	}
	char, size := utf8.DecodeRune(s.window[s.at:])
	if char == utf8.RuneError && size == 1 {
		return 0, s.syntax("a string is not valid UTF-8")
	}
	s.at += size
	return char, nil
}

// escape reads an escape sequence, starting at its backslash.
func (s *scanner) escape() (rune, error) {
	if err := s.fill(2); err != nil {
		return 0, err
	}
	c := s.window[s.at+1]
	if c == 'u' {
		return s.unicode()
	}
	i := strings.IndexByte("\"\\/bfnrt", c)
	if i < 0 {
		s.at++
		return 0, s.unexpected(c)
	}
	s.at += 2
	return rune("\"\\/\b\f\n\r\t"[i]), nil
}

// unicode reads \uXXXX, or two of them if they are a surrogate pair.
func (s *scanner) unicode() (rune, error) {
	first, err := s.hex()
	if err != nil {
		return 0, err
	}
	s.at += 6
	if first < 0xd800 || first > 0xdbff {
		if utf16.IsSurrogate(first) {
			first = utf8.RuneError
		}
		return first, nil
	}
	if err := s.fill(2); err != nil {
		return 0, err
	}
	if s.window[s.at] != '\\' || s.window[s.at+1] != 'u' {
		return utf8.RuneError, nil
	}
	second, err := s.hex()
	if err != nil {
		return 0, err
	}
	pair := utf16.DecodeRune(first, second)
	if pair != utf8.RuneError {
		s.at += 6 // otherwise the second escape is a character of its own
	}
	return pair, nil
}

// hex returns the value of the next \uXXXX without consuming it.
func (s *scanner) hex() (rune, error) {
	if err := s.fill(6); err != nil {
		return 0, err
	}
	for i := 2; i < 6; i++ {
		if c := s.window[s.at+i]; !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			s.at += i
			return 0, s.unexpected(c)
		}
	}
	v, err := strconv.ParseUint(string(s.window[s.at+2:s.at+6]), 16, 16)
	return rune(v), err
}
