package body

import (
	"bufio"
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// url reads the URL of an image, or null. A data URL is the image itself: it is decoded like
// inline data, under the limits of inline data. Of any other URL that is too long, url returns the
// start, and false for whole.
func (r *Reader) url(place string, img *intake.Source) (inline, whole bool, err error) {
	present, err := r.quoted(place)
	if err != nil || !present {
		return false, true, err
	}
	var head []byte // white space, and then the start of the scheme
	for len(head) <= MaxURLBytes {
		start := bytes.TrimLeft(head, whiteSpace)
		if !strings.EqualFold(string(start), scheme[:len(start)]) {
			break
		}
		if len(start) == len(scheme) {
			inline, err = r.inlineText(&stringReader{src: &r.src, piece: start, present: true}, img, true)
			return inline, true, err
		}
		piece, end, err := r.src.piece()
		if err != nil {
			return false, true, err
		}
		if end {
			img.URL = string(head)
			return false, true, nil
		}
		if piece[0] < utf8.RuneSelf { // perhaps a run of characters in the window
			r.src.at -= len(piece) - 1
			piece = piece[:1]
		}
		head = append(head, piece...)
	}
	rest, whole, err := r.src.text(max(MaxURLBytes-len(head), 0), math.MaxInt)
	if err != nil {
		return false, true, err
	}
	img.URL = string(head) + rest
	return false, whole && len(head) <= MaxURLBytes, nil
}

// headers reads the header fields for the URL of an image. A value of the wrong type, or more
// than the limits allow, is the failure of the image. Of several such members the last one counts.
func (r *Reader) headers(img *intake.Source) (*pipeline.Failure, error) {
	img.Headers = nil
	switch kind, err := r.enter('{', 3); {
	case err != nil || kind == absent:
		return nil, err
	case kind == wrong:
		return intake.InvalidHeaders(), nil
	}
	fields, size, valid := map[string]string{}, 0, true
	for first := true; ; first = false {
		name, more, err := r.src.member(first)
		switch {
		case err != nil:
			return nil, err
		case !more && valid:
			img.Headers = fields
			return nil, nil
		case !more:
			return intake.InvalidHeaders(), nil
		}
		var value string
		c, err := r.src.token()
		switch {
		case err != nil:
			return nil, err
		case c == '"':
			r.src.next()
			var whole bool
			value, whole, err = r.src.text(intake.MaxHeaderBytes, math.MaxInt)
			valid = valid && whole
		case c == 'n':
			err = r.src.literal("null")
		default:
			valid, err = false, r.src.skip(4)
		}
		if err != nil {
			return nil, err
		}
		_, twice := fields[name]
		size += len(name) + len(value)
		if valid = valid && !twice && len(fields) < intake.MaxHeaders && size <= intake.MaxHeaderBytes; valid {
			fields[name] = value
		}
	}
}

// decodePercent decodes percent-encoded data. Like decode, it returns only errors of
// Limits.Grow. A percent sign that is not part of an escape stands for itself.
func (d *inlined) decodePercent(in *bufio.Reader) (*pipeline.Failure, error) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return nil, nil // the end, or an error that stays in the text
		}
		if c == '%' {
			if digits, _ := in.Peek(2); len(digits) == 2 {
				if v, err := strconv.ParseUint(string(digits), 16, 8); err == nil {
					_, _ = in.Discard(2) // they are in the buffer
					c = byte(v)
				}
			}
		}
		if failure, err := d.write([]byte{c}); failure != nil || err != nil {
			return failure, err
		}
	}
}
