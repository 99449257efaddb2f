package body

import "errors"

// byteOrderMark skips a UTF-8 byte order mark, as RFC 8259, section 8.1, allows. It returns an
// error for that of another encoding.
func (s *scanner) byteOrderMark() error {
	for _, mark := range []string{"\xef\xbb\xbf", "\xfe\xff", "\xff\xfe"} {
		n := 0
		for ; n < len(mark); n++ { // waits for no byte after the first difference
			if err := s.fill(n + 1); err != nil && !errors.Is(err, errEnd) {
				return err
			} else if err != nil || s.window[s.at+n] != mark[n] {
				break
			}
		}
		switch {
		case n == len(mark) && n == 2:
			return &Error{"Request body is UTF-16, want UTF-8"}
		case n == len(mark):
			s.at += n
			return nil
		}
	}
	return nil
}
