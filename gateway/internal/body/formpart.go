package body

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"strings"
)

// content is the content of a part.
type content struct {
	form *Form
	part *multipart.Part
	sum  hash.Hash
	size int64
	err  error // the first one, other than io.EOF
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.part.Read(p)
	c.size += int64(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	if err != nil && (!errors.Is(err, io.EOF) || c.form.source.err != nil) {
		c.err = c.form.invalid(err)
		err = c.err
	}
	return n, err
}

// open returns the content of a part.
func (f *Form) open(part *multipart.Part) *content {
	c := &content{form: f, part: part}
	if f.sum != nil {
		c.sum = sha256.New()
	}
	return c
}

// finish reads the rest of a part and adds the part to the fingerprint.
func (f *Form) finish(c *content) error {
	if c.err != nil {
		return c.err
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, f.piece); err != nil {
		return err
	}
	if f.sum != nil {
		f.add([]byte(c.part.FormName()), []byte(c.part.FileName()), c.sum.Sum(nil))
	}
	return nil
}

// spaceless removes the white space of a text.
type spaceless struct{ in io.Reader }

func (s spaceless) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	kept := p[:0]
	for _, c := range p[:n] {
		if !strings.ContainsRune(whiteSpace, rune(c)) {
			kept = append(kept, c)
		}
	}
	return len(kept), err
}

// headerLimit ends a read of more than left bytes, unless left is negative: multipart.Reader
// would keep a header of any length.
type headerLimit struct {
	in   io.Reader
	left int
	err  error // other than io.EOF
}

func (l *headerLimit) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if l.left == 0 {
		l.err = &Error{fmt.Sprintf("Invalid form: the header of a part is longer than %d bytes", maxHeader)}
		return 0, l.err
	}
	if l.left > 0 && len(p) > l.left {
		p = p[:l.left]
	}
	n, err := l.in.Read(p)
	if l.left > 0 {
		l.left -= n
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = fmt.Errorf("read form: %w", err)
	}
	return n, err
}
