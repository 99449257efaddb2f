// Package coding decodes request bodies by their Content-Encoding (RFC 9110, section 8.4):
// gzip (RFC 1952) and zstd (RFC 8878, with the window of RFC 9659).
//
// It guarantees that a body of any content needs only the memory that the caller has
// granted before: 128 KiB for gzip; for zstd the windows that the frames announce, of which
// the largest counts and none may exceed 8 MiB, and a fixed part. It does not limit the
// number of bytes, encoded or decoded; the caller does. Members and frames may follow each
// other. A checksum is verified at the end of its member or frame, when the decoded bytes
// have been returned already, so the caller uses them for good only after io.EOF.
//
// It uses github.com/klauspost/compress/zstd (BSD and MIT license) because the standard
// library has no zstd; minio-go depends on that module too.
package coding

import (
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Coding is the coding of a body.
type Coding string

// The supported codings.
const (
	Identity Coding = "identity"
	Gzip     Coding = "gzip"
	Zstd     Coding = "zstd"
)

// Accepted lists the supported codings for the header Accept-Encoding.
const Accepted = "gzip, zstd"

// ErrUnsupported is returned by Of for other codings and for a body that was encoded more
// than once.
var ErrUnsupported = errors.New("unsupported content coding")

// Error is a mistake in an encoded body. Text is written for the client.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Of returns the coding that the Content-Encoding headers of a request name, or
// ErrUnsupported. Names are case-insensitive; x-gzip is gzip (RFC 9110, section 8.4.1.3).
func Of(headers []string) (Coding, error) {
	found := Identity
	for name := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		c := Coding(strings.ToLower(strings.Trim(name, " \t")))
		switch {
		case c == "" || c == Identity:
			continue
		case found != Identity:
			return "", ErrUnsupported
		case c == "x-gzip":
			c = Gzip
		case c != Gzip && c != Zstd:
			return "", ErrUnsupported
		}
		found = c
	}
	return found, nil
}

// gzipMemory is an upper bound of the memory of a gzip decoder in bytes: 45 KiB, and an
// extra field of at most 64 KiB in the header of a member.
const gzipMemory = 128 << 10

// MaxMemory is the maximum memory of a reader in bytes.
const MaxMemory = early + blockMemory + maxWindow + windowMargin

// NewReader returns a reader of the decoded bytes of r. It calls grow, which may be nil,
// before it needs that many bytes of memory. Read returns the errors of r and of grow as
// they are, and an [*Error] for invalid data. The caller closes the reader.
func (c Coding) NewReader(r io.Reader, grow func(bytes int64) error) io.ReadCloser {
	if grow == nil {
		grow = func(int64) error { return nil }
	}
	d := &decoder{coding: c, wire: &wire{r: r}, grow: grow}
	switch c {
	case Gzip:
		d.open = openGzip
	case Zstd:
		d.open = openZstd
	default:
		return io.NopCloser(r)
	}
	return d
}

func openGzip(w *wire, grow func(int64) error) (io.ReadCloser, error) {
	if err := w.keep(grow(gzipMemory)); err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(w)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// wire reads the encoded body. It keeps errors that a decoder may hide behind its own.
type wire struct {
	r      io.Reader
	err    error // first error of r or of grow, except io.EOF
	format error // what was found to be wrong with the body before the decoder saw it
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if !errors.Is(err, io.EOF) {
		_ = w.keep(err)
	}
	return n, err
}

// keep returns err and remembers it if it is the first one.
func (w *wire) keep(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// decoder reads one body. The decoder of its coding is opened by the first Read.
type decoder struct {
	coding  Coding
	wire    *wire
	grow    func(int64) error
	open    func(*wire, func(int64) error) (io.ReadCloser, error)
	in      io.ReadCloser
	decoded bool  // at least one byte has been decoded
	err     error // end of the body, or what is wrong with it
}

func (d *decoder) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.in == nil {
		d.in, err = d.open(d.wire, d.grow)
	}
	if err == nil {
		n, err = d.in.Read(p)
	}
	d.decoded = d.decoded || n > 0
	if err != nil {
		d.err = d.cause(err)
	}
	return n, d.err
}

// Close frees the decoder. It does not close the encoded body.
func (d *decoder) Close() error {
	d.err = errors.New("read from a closed decoder")
	if d.in == nil {
		return nil
	}
	return d.in.Close()
}

// cause returns the reason for an error of the decoder.
func (d *decoder) cause(err error) error {
	if d.wire.err != nil {
		return d.wire.err
	}
	if d.wire.format != nil {
		err = d.wire.format
	}
	if invalid, ok := errors.AsType[*Error](err); ok {
		return invalid
	}
	reason := "damaged data"
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		reason = "unexpected end of the body"
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		reason = "wrong checksum"
	case (errors.Is(err, gzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch)) && d.decoded:
		reason = "unexpected data after the end"
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		reason = "the body does not begin with its header"
	}
	return &Error{"Invalid " + string(d.coding) + " body: " + reason}
}
