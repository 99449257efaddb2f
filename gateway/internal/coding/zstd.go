package coding

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest window that a content coding may use (RFC 9659).
	maxWindow = 8 << 20
	// windowMargin is what the decoder allocates in addition to a window of 2 MiB or more; a
	// smaller window it allocates twice.
	windowMargin = 1 << 20
	// early is the number of bytes that must have arrived, unless the body is shorter, before
	// memory for a frame is taken: otherwise a few bytes from a client that then stalls would
	// take megabytes from the others.
	early = 64 << 10
	// blockMemory is an upper bound of the memory for the current block and its tables.
	blockMemory = 512 << 10
)

// frames passes on a zstd body and asks for memory before a frame that needs more than
// those before. The decoder allocates a window as soon as it has read a header, and has no
// other place to ask.
type frames struct {
	in       *bufio.Reader
	wire     *wire
	grow     func(int64) error
	granted  int64 // memory for the window and the current block
	left     int64 // bytes up to the next header of a frame or block
	blocks   bool  // the next header is that of a block
	checksum bool  // the frame ends with a checksum
}

func openZstd(w *wire, grow func(int64) error) (io.ReadCloser, error) {
	if err := w.keep(grow(early)); err != nil {
		return nil, err
	}
	f := &frames{in: bufio.NewReaderSize(w, early), wire: w, grow: grow}
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		next := f.frame
		if f.blocks {
			next = f.block
		}
		if err := next(); err != nil {
			if f.wire.err == nil && !errors.Is(err, io.EOF) {
				f.wire.format = err // of a cut header, the decoder would make a regular end
			}
			return 0, err
		}
	}
	n, err := f.in.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// peek returns the next n bytes without consuming them, or fewer at the end of the body.
func (f *frames) peek(n int) ([]byte, error) {
	b, err := f.in.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// frame reads the header of a frame (RFC 8878, sections 3.1.1.1 and 3.1.2).
func (f *frames) frame() error {
	b, err := f.peek(zstd.HeaderMaxSize)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return io.EOF
	}
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return err
	}
	f.left = int64(h.HeaderSize)
	if h.Skippable {
		f.left += int64(h.SkippableSize)
		return nil
	}
	f.blocks, f.checksum = true, h.HasCheckSum
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	switch {
	case window > maxWindow:
		return &Error{fmt.Sprintf("Invalid zstd body: a window of %d bytes, the maximum is %d", window, maxWindow)}
	case h.DictionaryID != 0:
		return &Error{"Invalid zstd body: dictionaries are not supported"}
	}
	return f.take(int64(window))
}

// take asks for the memory of a frame with this window, as the decoder allocates it.
func (f *frames) take(window int64) error {
	need := blockMemory + window + windowMargin
	if window < 2*windowMargin {
		need = blockMemory + 2*window
	}
	if need <= f.granted {
		return nil
	}
	if _, err := f.peek(early); err != nil {
		return err
	}
	if err := f.wire.keep(f.grow(need - f.granted)); err != nil {
		return err
	}
	f.granted = need
	return nil
}

// block reads the header of a block (RFC 8878, section 3.1.1.2).
func (f *frames) block() error {
	const header, rle, checksum = 3, 1, 4
	b, err := f.peek(header)
	if err != nil {
		return err
	}
	if len(b) < header {
		return io.ErrUnexpectedEOF
	}
	bits := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	size := bits >> 3
	if bits>>1&3 == rle { // one byte, repeated
		size = 1
	}
	f.left = header + size
	if last := bits&1 == 1; last {
		f.blocks = false
		if f.checksum {
			f.left += checksum
		}
	}
	return nil
}
