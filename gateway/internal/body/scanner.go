package body

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	windowBytes = 64 << 10
	maxToken    = 64 << 10 // bytes of one number, of the name of a member, or of the string of an unknown one
	maxDepth    = 100
)

// scanner reads JSON through one window. It keeps no other data.
type scanner struct {
	r      io.Reader
	window []byte
	at     int   // first unused byte of the window
	read   int64 // number of bytes that have left the window, for positions in error texts
	failed error // error of r, to be returned after the content of the window
	char   [utf8.UTFMax]byte
}

// errEnd is returned when the body ends where a token is required.
var errEnd error = &Error{"Invalid JSON: unexpected end of the body"}

func (s *scanner) syntax(format string, args ...any) error {
	return &Error{fmt.Sprintf("Invalid JSON at byte %d: ", s.read+int64(s.at)) + fmt.Sprintf(format, args...)}
}

func (s *scanner) unexpected(c byte) error {
	if c < ' ' || c > '~' {
		return s.syntax("unexpected byte 0x%02x", c)
	}
	return s.syntax("unexpected character '%c'", c)
}

// fill reads until the unused part of the window has at least n bytes. n must be small. It
// returns errEnd when the body ends earlier.
func (s *scanner) fill(n int) error {
	for idle := 0; len(s.window)-s.at < n; {
		if s.failed != nil {
			if errors.Is(s.failed, io.EOF) {
				return errEnd
			}
			return fmt.Errorf("read body: %w", s.failed)
		}
		if s.window == nil {
			s.window = make([]byte, 0, windowBytes)
		}
		s.read += int64(s.at)
		kept := copy(s.window[:cap(s.window)], s.window[s.at:])
		s.window, s.at = s.window[:kept], 0
		got, err := s.r.Read(s.window[kept:cap(s.window)])
		s.window, s.failed = s.window[:kept+got], err
		if got > 0 {
			idle = 0
		} else if idle++; idle == 100 && err == nil {
			s.failed = io.ErrNoProgress
		}
	}
	return nil
}

// next consumes the byte that token returned.
func (s *scanner) next() { s.at++ }

// token skips white space and returns the next byte without consuming it.
func (s *scanner) token() (byte, error) {
	for {
		if err := s.fill(1); err != nil {
			return 0, err
		}
		switch c := s.window[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c, nil
		}
	}
}

// end verifies that only white space follows the top-level value.
func (s *scanner) end() error {
	c, err := s.token()
	if errors.Is(err, errEnd) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.syntax("unexpected data after the object, beginning with %q", rune(c))
}

// member moves to the value of the next member of an object. It returns false after the
// closing brace. Of a long name it returns only the start.
func (s *scanner) member(first bool) (key string, more bool, err error) {
	key, _, more, err = s.named(first, 16)
	return key, more, err
}

// named does the same. Of the name it returns the first keep bytes, and whether they are all.
func (s *scanner) named(first bool, keep int) (key string, whole, more bool, err error) {
	c, err := s.separator('}', first)
	if err != nil || c == '}' {
		return "", false, false, err
	}
	if c != '"' {
		return "", false, false, s.unexpected(c)
	}
	s.next()
	key, whole, err = s.text(keep, maxToken)
	if err != nil {
		return "", false, false, err
	}
	if c, err = s.token(); err != nil {
		return "", false, false, err
	}
	if c != ':' {
		return "", false, false, s.unexpected(c)
	}
	s.next()
	return key, whole, true, nil
}

// element moves to the next element of an array. It returns false after the
// closing bracket.
func (s *scanner) element(first bool) (bool, error) {
	c, err := s.separator(']', first)
	if err != nil || c == ']' {
		return false, err
	}
	return true, nil
}

// separator reads the comma before a member or element, which the first one does not have,
// and returns the next byte. It consumes the closing character.
func (s *scanner) separator(closing byte, first bool) (byte, error) {
	c, err := s.token()
	if err != nil {
		return 0, err
	}
	if c == closing {
		s.next()
		return c, nil
	}
	if first {
		return c, nil
	}
	if c != ',' {
		return 0, s.unexpected(c)
	}
	s.next()
	if c, err = s.token(); err != nil {
		return 0, err
	}
	if c == closing {
		return 0, s.unexpected(c)
	}
	return c, nil
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if err := s.fill(1); err != nil {
			return err
		}
		if c := s.window[s.at]; c != word[i] {
			return s.unexpected(c)
		}
		s.next()
	}
	return nil
}

func startsValue(c byte) bool {
	return bytes.IndexByte([]byte(`{["-0123456789tfn`), c) >= 0
}

// skip reads one value of any type at the given depth. It needs one byte of memory for each
// level.
func (s *scanner) skip(depth int) error {
	var open []byte // the closing characters that are still expected
	for {
		c, err := s.token()
		if err != nil {
			return err
		}
		opened := false
		switch {
		case c == '{', c == '[':
			if depth+len(open) >= maxDepth {
				return s.syntax("nested deeper than %d", maxDepth)
			}
			s.next()
			open, opened = append(open, c+2), true // in ASCII, } and ] are two after { and [
		case c == '"':
			s.next()
			_, _, err = s.text(0, maxToken)
		case c == '-', c >= '0' && c <= '9':
			_, err = s.number()
		case c == 't':
			err = s.literal("true")
		case c == 'f':
			err = s.literal("false")
		case c == 'n':
			err = s.literal("null")
		default:
			err = s.unexpected(c)
		}
		if err != nil {
			return err
		}
		if open, err = s.unwind(open, opened); err != nil || len(open) == 0 {
			return err
		}
	}
}

// unwind closes the values that end here and moves to the next value of the innermost open one.
func (s *scanner) unwind(open []byte, first bool) ([]byte, error) {
	for len(open) > 0 {
		var (
			more bool
			err  error
		)
		if open[len(open)-1] == '}' {
			_, more, err = s.member(first)
		} else {
			more, err = s.element(first)
		}
		if err != nil || more {
			return open, err
		}
		open, first = open[:len(open)-1], false
	}
	return open, nil
}

// number reads a number by the grammar of RFC 8259, section 6. It returns the first bytes of the
// number, more than an int needs.
func (s *scanner) number() (string, error) {
	var kept []byte
	// The part that was read last: a sign, a lone zero, digits, the point, a fraction, e,
	// the sign or the digits of an exponent.
	part := byte(' ')
	for length := 1; ; length++ {
		err := s.fill(1)
		if err != nil && !errors.Is(err, errEnd) {
			return "", err
		}
		c := byte(0)
		if err == nil {
			c = s.window[s.at]
		}
		after := func(parts string) bool { return strings.IndexByte(parts, part) >= 0 }
		digit := c >= '0' && c <= '9'
		switch {
		case c == '-' && part == ' ':
			part = '-'
		case c == '0' && after(" -"):
			part = '0'
		case digit && after(" -1"):
			part = '1'
		case c == '.' && after("01"):
			part = '.'
		case digit && after(".f"):
			part = 'f'
		case (c == 'e' || c == 'E') && after("01f"):
			part = 'e'
		case (c == '+' || c == '-') && part == 'e':
			part = '+'
		case digit && after("e+x"):
			part = 'x'
		case after("01fx"): // the number may end here
			return string(kept), nil
		case err != nil:
			return "", err
		default:
			return "", s.unexpected(c)
		}
		if length > maxToken {
			return "", &Error{fmt.Sprintf("Invalid JSON: a number is longer than %d bytes", maxToken)}
		}
		if len(kept) < 24 {
			kept = append(kept, c)
		}
		s.next()
	}
}

// text reads the rest of a string after its opening quote. It returns the first keep bytes and
// whether they are the whole string, which may have up to most bytes.
func (s *scanner) text(keep, most int) (string, bool, error) {
	var kept []byte
	length := 0
	for {
		piece, end, err := s.piece()
		if err != nil {
			return "", false, err
		}
		if end {
			return string(kept), length == len(kept), nil
		}
		if length += len(piece); length > most {
			return "", false, &Error{fmt.Sprintf("Invalid JSON: a string is longer than %d bytes", most)}
		}
		kept = append(kept, piece[:min(len(piece), keep-len(kept))]...)
	}
}
