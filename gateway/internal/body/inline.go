package body

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// inline reads the base64 string of an image, or null. It reports whether there
// was any text in it, and gives img what that decodes to or why it does not.
func (r *Reader) inline(place string, img *intake.Source) (bool, error) {
	present, err := r.quoted(place)
	if err != nil || !present {
		return false, err
	}
	d := decoder{data: r.data[:0], limit: r.limits.ImageBytes, room: r.limits.Grow}
	present = false
	for {
		piece, end, err := r.src.piece()
		if err != nil {
			return false, err
		}
		if end {
			break
		}
		present = true
		if d.write(piece); d.refused != nil {
			return false, d.refused
		}
	}
	img.Data, img.Failure = d.end()
	if d.refused != nil {
		return false, d.refused
	}
	r.data = d.data[:0]
	return present, nil
}

// phase is the part of the string that a decoder is in.
type phase int

const (
	inScheme  phase = iota // it may be a data URL
	inType                 // of a data URL, up to its comma
	inBase64               //
	inPadding              // after the first '='
	discarding
)

// maxMediaType bounds what may stand between "data:" and the comma.
const maxMediaType = 1 << 10

// decoder decodes the text of one image. Its array never grows over the limit.
type decoder struct {
	data    []byte
	limit   int64
	room    func(bytes int64) error // for a larger array; nil: there always is
	phase   phase
	head    []byte // of a data URL, while in it
	quantum uint32 // the 6-bit groups that do not make three bytes yet
	groups  int    // how many those are, below 4
	padding int
	failure *pipeline.Failure
	refused error // there is no room, and the request ends
}

const scheme = "data:"

func (d *decoder) write(p []byte) {
	for len(p) > 0 {
		switch d.phase {
		case discarding:
			return
		case inBase64:
			n := d.bulk(p)
			if p = p[n:]; len(p) == 0 {
				return
			}
		}
		d.char(p[0])
		p = p[1:]
	}
}

// bulk decodes from the beginning of p what is a whole number of clean quanta
// that fit, and returns how many bytes of p that was. Everything else is done
// character by character. A piece of more than one byte holds no line break,
// which Decode would step over.
func (d *decoder) bulk(p []byte) int {
	const block = 4096
	done := 0
	for d.groups == 0 && len(p)-done >= 4 {
		n := min(len(p)-done, block) &^ 3
		size := n / 4 * 3
		if int64(len(d.data)+size) > d.limit {
			break
		}
		if !d.grow(size) {
			break
		}
		to := d.data[len(d.data) : len(d.data)+size]
		got, _ := base64.StdEncoding.Decode(to, p[done:done+n])
		got -= got % 3
		d.data, done = d.data[:len(d.data)+got], done+got/3*4
		if got < size {
			break
		}
	}
	return done
}

// grow makes room for n more bytes, and reports whether there is any. It takes large
// steps, so that little garbage is left behind.
func (d *decoder) grow(n int) bool {
	need := len(d.data) + n
	if need <= cap(d.data) {
		return true
	}
	size := max(int64(need), min(max(4*int64(cap(d.data)), windowBytes), d.limit))
	if d.room != nil {
		if err := d.room(size - int64(cap(d.data))); err != nil {
			d.refused, d.phase = fmt.Errorf("grow buffer: %w", err), discarding
			return false
		}
	}
	d.data = append(make([]byte, 0, size), d.data...)
	return true
}

func (d *decoder) char(c byte) {
	switch c {
	case ' ', '\t', '\n', '\r':
		return
	}
	switch d.phase {
	case inScheme:
		d.head = append(d.head, c)
		n := len(d.head)
		if !strings.EqualFold(string(d.head), scheme[:n]) {
			head := d.head
			d.phase, d.head = inBase64, nil
			for _, c := range head {
				d.char(c)
			}
		} else if n == len(scheme) {
			d.phase, d.head = inType, nil
		}
	case inType:
		d.mediaType(c)
	case inBase64:
		d.digit(c)
	case inPadding:
		d.pad(c)
	}
}

// mediaType reads a data URL up to its comma, by RFC 2397.
func (d *decoder) mediaType(c byte) {
	if c != ',' {
		if d.head = append(d.head, c); len(d.head) > maxMediaType {
			d.fail(intake.InvalidBase64())
		}
		return
	}
	const marker = ";base64"
	if n := len(d.head) - len(marker); n < 0 || !strings.EqualFold(string(d.head[n:]), marker) {
		d.fail(intake.InvalidBase64())
		return
	}
	d.phase, d.head = inBase64, nil
}

func (d *decoder) digit(c byte) {
	var v byte
	switch {
	case c >= 'A' && c <= 'Z':
		v = c - 'A'
	case c >= 'a' && c <= 'z':
		v = c - 'a' + 26
	case c >= '0' && c <= '9':
		v = c - '0' + 52
	case c == '+', c == '-':
		v = 62
	case c == '/', c == '_':
		v = 63
	case c == '=':
		d.phase = inPadding
		d.pad(c)
		return
	default:
		d.fail(intake.InvalidBase64())
		return
	}
	d.quantum = d.quantum<<6 | uint32(v)
	if d.groups++; d.groups == 4 {
		d.append(byte(d.quantum>>16), byte(d.quantum>>8), byte(d.quantum))
		d.quantum, d.groups = 0, 0
	}
}

// pad counts the padding, which can only complete a quantum.
func (d *decoder) pad(c byte) {
	if d.padding++; c != '=' || d.groups < 2 || d.groups+d.padding > 4 {
		d.fail(intake.InvalidBase64())
	}
}

func (d *decoder) append(b ...byte) {
	if int64(len(d.data)+len(b)) > d.limit {
		d.fail(intake.TooLarge(d.limit))
		return
	}
	if d.grow(len(b)) {
		d.data = append(d.data, b...)
	}
}

func (d *decoder) fail(f *pipeline.Failure) {
	d.failure, d.phase = f, discarding
}

// end returns what the text decodes to.
func (d *decoder) end() ([]byte, *pipeline.Failure) {
	if d.phase == inScheme { // what looked like a data URL to the end
		for _, c := range d.head {
			d.digit(c)
		}
	}
	switch {
	case d.failure != nil:
	case d.phase == inType, d.groups == 1, d.padding > 0 && d.groups+d.padding < 4:
		d.fail(intake.InvalidBase64())
	case d.groups == 2:
		d.append(byte(d.quantum >> 4))
	case d.groups == 3:
		d.append(byte(d.quantum>>10), byte(d.quantum>>2))
	}
	if d.failure != nil {
		return nil, d.failure
	}
	return d.data, nil
}
