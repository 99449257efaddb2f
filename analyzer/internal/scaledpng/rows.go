package scaledpng

import (
	"context"
	"encoding/binary"
	"image"
)

const (
	// maxSide bounds the memory of a row, and the sums of a column.
	maxSide = 1 << 16
	// fresh is the amount of pixel data that is decompressed at a time, at least.
	fresh = 64 << 10
	// wide is the number of bytes of a word, which are processed in one operation.
	wide = 8
	// spare is the number of bytes that may be read and written behind a row, so that several words can be
	// processed without a check.
	spare = 4 * wide
)

// decoder is the state of decoding one file.
type decoder struct {
	ctx    context.Context // lives for one decoding
	chunks chunks
	idat   []byte // rest of the current IDAT chunk
	ended  bool   // the last IDAT chunk in sequence has been read
	header header

	z    inflater
	from int // start of the bytes in the window that have not become rows
	sum  adler

	row, above []byte // the current row and the one before it, without filters
}

func newDecoder(ctx context.Context, data []byte) (*decoder, error) {
	if len(data) < len(signature) || string(data[:len(signature)]) != signature {
		return nil, errSignature
	}
	d := &decoder{ctx: ctx, chunks: chunks{data[len(signature):]}, sum: newAdler()}
	var err error
	if d.idat, err = d.header.read(&d.chunks); err != nil {
		return nil, err
	}
	longest := d.header.rowBytes(d.header.width)
	d.z = inflater{
		in: newInput(d.compressed), own: new(codes),
		out: make([]byte, max(windowSize, longest+1)+fresh+slack),
	}
	d.row, d.above = make([]byte, longest+spare), make([]byte, longest+spare)
	return d, d.z.header()
}

// compressed returns the next piece of the compressed data, or nil behind the last one. The pieces are small, so
// that a decoding ends soon after its context even if the data contains no pixels.
func (d *decoder) compressed() ([]byte, error) {
	for len(d.idat) == 0 && !d.ended {
		before := d.chunks
		found, err := d.chunks.next()
		if err != nil {
			return nil, err
		}
		d.idat = found.payload
		if found.name != "IDAT" {
			d.chunks, d.idat, d.ended = before, nil, true
		}
	}
	piece := d.idat[:min(staged, len(d.idat))]
	d.idat = d.idat[len(piece):]
	return piece, d.ctx.Err()
}

// nextRow returns the next row of some pixels without its filter. The row is valid until the next call.
func (d *decoder) nextRow(pixels int) ([]byte, error) {
	n := d.header.rowBytes(pixels)
	for d.z.pos-d.from < n+1 {
		if d.z.kind == behindLast {
			return nil, errTooLittle
		}
		if err := d.inflate(); err != nil {
			return nil, err
		}
	}
	// A few bytes behind the row are there for operations on words; their values do not matter.
	filter, src := d.z.out[d.from], d.z.out[d.from+1:][:n+spare]
	d.from += n + 1
	if err := unfilter(d.row[:n+spare], d.above[:n+spare], src, n, d.header.pixelBytes(), filter); err != nil {
		return nil, err
	}
	d.row, d.above = d.above, d.row
	return d.above[:n+spare], nil
}

// inflate decompresses more pixel data.
func (d *decoder) inflate() error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	drop := max(0, min(d.from, d.z.pos-windowSize))
	d.z.pos = copy(d.z.out, d.z.out[drop:d.z.pos])
	d.from -= drop
	start := d.z.pos
	err := d.z.more()
	d.sum.add(d.z.out[start:d.z.pos])
	return err
}

// startPass forgets the row above: the first row of an image or pass has none.
func (d *decoder) startPass() { clear(d.above) }

// rows decodes an image that is not interlaced into out.
func (d *decoder) rows(out *image.NRGBA) error {
	s := newSampler(&d.header)
	b := newBox(d.header.width, d.header.height, s.channels, out)
	d.startPass()
	for range d.header.height {
		row, err := d.nextRow(d.header.width)
		if err != nil {
			return err
		}
		b.add(s.convert(row, d.header.width))
	}
	return nil
}

// finish checks what follows the last row. Like libpng, it accepts more pixel data than the image has, and
// whatever follows the compressed data, but not an early end of the compressed data or of the file.
func (d *decoder) finish() error {
	for d.z.pos == d.from && d.z.kind != behindLast {
		if err := d.inflate(); err != nil {
			return err
		}
	}
	if d.z.pos == d.from {
		want, err := d.z.in.checksum()
		if err != nil {
			return err
		}
		if want != d.sum.value() {
			return errSum
		}
	}
	for {
		found, err := d.chunks.next()
		switch {
		case err != nil:
			return err
		case found.name == "IEND":
			return d.ctx.Err()
		case found.name == "PLTE" && !d.header.hasPalette:
			d.header.hasPalette = true
		case critical(found.name) && found.name != "IDAT":
			return misplaced(found.name)
		}
	}
}

// checksum reads the checksum behind the compressed data.
func (in *input) checksum() (uint32, error) {
	in.align()
	if err := in.fill(); err != nil {
		return 0, err
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], in.take(32))
	return binary.BigEndian.Uint32(b[:]), in.checkEnd()
}

// Memory returns the maximum memory, in bytes, for decoding an image of some size to another one.
func Memory(width, height, toWidth, toHeight int) int64 {
	const (
		tables   = 64 << 10 // tables, compressed data, and what does not depend on the size
		perPixel = 8        // bytes of the longest pixel
	)
	row := int64(width) * perPixel
	// Two rows, one in the window, and the samples, sums and columns of one.
	perRow := 3*row + int64(width)*(2*4+10*4+12)
	// The result, and for an interlaced image the sums of all its samples.
	sums := int64(toWidth) * int64(toHeight+1) * (4 + 4*8)
	return tables + windowSize + fresh + perRow + int64(height)*12 + sums + int64(toWidth)*64
}
