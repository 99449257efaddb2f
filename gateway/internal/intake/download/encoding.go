package download

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"

	"github.com/imagebatch/imagebatch/gateway/internal/coding"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// Limits of an encoded body.
const (
	maxCodings = 2
	// headBytes is the number of bytes that show whether a body is an image already.
	headBytes = 16
	// The window of zstd. RFC 9659 limits it to 8 MiB in HTTP.
	maxWindow, minWindow = 8 << 20, 1 << 20
	// The memory of the two decoders that keep a large window: of zstd in addition to it, of
	// brotli in total, with the largest window of RFC 7932.
	zstdBytes, brotliBytes = 2 << 20, 18 << 20
)

var errWindow = errors.New("the window of zstd is too large")

// decoded returns the body of a response without its content codings, its length or -1, and a
// function that ends the decoding. Origins send codings although we accept none.
//
// The codings are gzip, deflate (RFC 9110's zlib, and the raw deflate that some origins send),
// br and zstd, at most two of them. A body that starts like an image has no coding, whatever its
// header says. The memory of a window counts as memory of the job.
func (c *Client) decoded(ctx context.Context, job string, resp *http.Response) (_ io.Reader, length int64, end func(), _ error) {
	list := codings(resp.Header)
	if len(list) == 0 {
		return resp.Body, resp.ContentLength, func() {}, nil
	}
	source := &encoded{body: resp.Body, left: c.config.MaxBytes + c.config.MaxBytes/8 + firstRead, limit: c.config.MaxBytes}
	in := bufio.NewReader(source)
	if unencoded(in) {
		return in, resp.ContentLength, func() {}, nil
	}
	window, held := c.decoderMemory(list)
	if held < 0 || len(list) > maxCodings {
		return nil, 0, nil, failed("its content encoding is not supported", false, nil)
	}
	if held > 0 && !c.memory.take(ctx, job, held, c.config.memoryWait) {
		return nil, 0, nil, ErrBusy
	}
	d := &decoder{source: source, in: in, codings: list, window: window}
	return d, -1, func() {
		d.close()
		c.memory.give(job, held)
	}, nil
}

// codings returns the content codings of a response in the order in which they were applied.
func codings(h http.Header) (list []string) {
	for name := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
			list = append(list, name)
		}
	}
	return list
}

// unencoded reports whether a body is empty or starts like an image.
func unencoded(in *bufio.Reader) bool {
	head, _ := in.Peek(headBytes) // the next read returns the error
	return len(head) == 0 || imagefile.Known(head)
}

// decoderMemory returns the largest window of zstd, and the bytes that the decoders hold, or -1
// if one of them is unknown or can never have its memory. The image itself may need twice its
// size while its buffer grows.
func (c *Client) decoderMemory(codings []string) (window, held int64) {
	room := c.memory.share - 2*(c.config.MaxBytes+1)
	window = min(maxWindow, room-zstdBytes)
	for _, coding := range codings {
		switch coding {
		case "gzip", "x-gzip", "deflate":
		case "br":
			held += brotliBytes
		case "zstd":
			if held += window + zstdBytes; window < minWindow {
				return 0, -1
			}
		default:
			return 0, -1
		}
	}
	if held > max(room, 0) {
		return 0, -1
	}
	return window, held
}

// decoder decodes a body. It reads the body only when it is read itself.
type decoder struct {
	source  *encoded
	in      *bufio.Reader // the body, decoded so far
	codings []string
	window  int64
	opened  bool
	ends    []func() error
}

func (d *decoder) Read(p []byte) (n int, err error) {
	if !d.opened {
		d.opened = true
		err = d.open()
	}
	if err == nil {
		n, err = d.in.Read(p)
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return n, err
	case d.source.err != nil:
		return n, d.source.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("decode: %w", err)
	}
	return n, failed("its content encoding is invalid", false, err)
}

// open opens a decoder for each coding, the last one first.
func (d *decoder) open() error {
	for _, coding := range slices.Backward(d.codings) {
		if unencoded(d.in) {
			break
		}
		r, err := d.layer(coding)
		if err != nil {
			return fmt.Errorf("open %s: %w", coding, err)
		}
		d.in = bufio.NewReader(r)
	}
	return nil
}

func (d *decoder) layer(name string) (io.Reader, error) {
	switch name {
	case "zstd":
		left := d.window + zstdBytes
		z := coding.Zstd.NewReader(d.in, func(bytes int64) error {
			if left -= bytes; left < 0 {
				return errWindow
			}
			return nil
		})
		d.ends = append(d.ends, z.Close)
		return z, nil
	case "br":
		return brotli.NewReader(d.in), nil
	case "deflate":
		// RFC 1950: a zlib stream starts with the method and a checksum.
		if head, err := d.in.Peek(2); err != nil || head[0]&0xf != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
			return flate.NewReader(d.in), nil
		}
		return zlib.NewReader(d.in)
	default:
		return gzip.NewReader(d.in)
	}
}

func (d *decoder) close() {
	for _, end := range d.ends {
		_ = end() // frees memory only
	}
}

// encoded is a body before it is decoded. A body that is longer than any encoding of an image of
// the limit is too large: its decoder could read it for ever without returning a byte.
type encoded struct {
	body  io.Reader
	left  int64
	limit int64
	err   error // error of the body, unless it is its end
}

func (e *encoded) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	if e.left -= int64(n); e.left < 0 {
		err = TooLarge(e.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}
