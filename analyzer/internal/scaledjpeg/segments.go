package scaledjpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"image/jpeg"
	"io"
)

// The second bytes of the markers that need special treatment (T.81, table B.1).
const (
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
)

// segments reads the file from its start to its end-of-image marker. Like image/jpeg and libjpeg, it skips
// stray bytes between segments.
func (d *decoder) segments(ctx context.Context) error {
	if !bytes.HasPrefix(d.data, []byte{0xff, markerSOI}) {
		return jpeg.FormatError("missing SOI marker")
	}
	d.pos = 2
	for {
		marker, err := d.nextMarker()
		if err != nil || marker == markerEOI {
			return err
		}
		segment, err := d.segment()
		if err != nil {
			return err
		}
		if err := d.visit(ctx, marker, segment); err != nil {
			return err
		}
	}
}

// nextMarker finds the next marker that is neither a stuffed byte nor a restart marker, and moves behind it.
func (d *decoder) nextMarker() (byte, error) {
	for {
		i := bytes.IndexByte(d.data[d.pos:], 0xff)
		if i < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		d.pos += i + 1
		filled := false
		for d.pos < len(d.data) && d.data[d.pos] == 0xff {
			d.pos++
			filled = true
		}
		if d.pos == len(d.data) {
			return 0, io.ErrUnexpectedEOF
		}
		marker := d.data[d.pos]
		d.pos++
		if (marker != 0 || filled) && !isRestart(marker) {
			return marker, nil
		}
	}
}

func isRestart(marker byte) bool { return marker >= markerRST0 && marker <= markerRST7 }

// segment returns the payload of the segment whose marker was just read, and moves behind it.
func (d *decoder) segment() ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 {
		return nil, errLength
	}
	if n > len(rest) {
		return nil, io.ErrUnexpectedEOF
	}
	d.pos += n
	return rest[2:n], nil
}

func (d *decoder) visit(ctx context.Context, marker byte, segment []byte) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		d.baseline = marker == markerSOF0
		d.progressive = marker == markerSOF2
		return d.frame(segment)
	case markerDHT:
		return d.huffmanTables(segment)
	case markerDQT:
		return d.quantTables(segment)
	case markerDRI:
		if len(segment) != 2 {
			return errLength
		}
		d.interval = int(binary.BigEndian.Uint16(segment))
	case markerSOS:
		return d.readScan(ctx, segment)
	case markerAPP0:
		if len(segment) >= 5 {
			d.jfif = string(segment[:5]) == "JFIF\x00"
		}
	case markerAPP14:
		if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
			d.adobe, d.transform = true, segment[11]
		}
	default:
		switch {
		case marker < markerSOF0:
			return jpeg.FormatError("unknown marker")
		case (marker < markerAPP0 || marker > markerAPP15) && marker != markerCOM:
			return jpeg.UnsupportedError("unknown marker")
		}
	}
	return nil
}

// frame reads a frame header (T.81, B.2.2).
func (d *decoder) frame(segment []byte) error {
	if d.components != nil {
		return jpeg.FormatError("multiple SOF markers")
	}
	if len(segment) != 6+3*1 && len(segment) != 6+3*3 {
		return jpeg.UnsupportedError("number of components at a scale")
	}
	if segment[0] != 8 {
		return jpeg.UnsupportedError("precision")
	}
	d.height = int(binary.BigEndian.Uint16(segment[1:]))
	d.width = int(binary.BigEndian.Uint16(segment[3:]))
	n := int(segment[5])
	switch {
	case len(segment) != 6+3*n:
		return errLength
	case d.width == 0:
		return errNoWidth
	case d.height == 0:
		return errNoHeight
	}
	d.components = make([]component, n)
	for i := range d.components {
		c := segment[6+3*i:]
		d.components[i] = component{id: c[0], h: int(c[1] >> 4), v: int(c[1] & 15), tq: c[2]}
		for _, other := range d.components[:i] {
			if other.id == c[0] {
				return jpeg.FormatError("repeated component identifier")
			}
		}
		if c[2] > 3 {
			return jpeg.FormatError("bad Tq value")
		}
	}
	if err := d.checkSampling(); err != nil {
		return err
	}
	d.layOut()
	return nil
}

// checkSampling accepts the sampling factors that image/jpeg accepts: those of an image.YCbCr. It ignores the
// factors of a gray image's only component (T.81, A.2.2).
func (d *decoder) checkSampling() error {
	c := d.components
	for i := range c {
		if c[i].h < 1 || c[i].h > 4 || c[i].v < 1 || c[i].v > 4 {
			return jpeg.FormatError("luma/chroma subsampling ratio")
		}
		if c[i].h == 3 || c[i].v == 3 {
			return jpeg.UnsupportedError("luma/chroma subsampling ratio")
		}
	}
	if len(c) == 1 {
		c[0].h, c[0].v = 1, 1
		return nil
	}
	if c[0].v == 4 || c[0].h%c[1].h != 0 || c[0].v%c[1].v != 0 || c[1].h != c[2].h || c[1].v != c[2].v {
		return jpeg.UnsupportedError("luma/chroma subsampling ratio")
	}
	return nil
}

// layOut counts the MCUs and the blocks of each component (T.81, A.1.1 and A.2). The first component has the
// largest sampling factors.
func (d *decoder) layOut() {
	h, v := d.components[0].h, d.components[0].v
	d.columns, d.rows = over(d.width, 8*h), over(d.height, 8*v)
	for i := range d.components {
		c := &d.components[i]
		c.columns, c.rows = over(over(d.width*c.h, h), 8), over(over(d.height*c.v, v), 8)
		c.stride = d.columns * c.h * d.side
	}
}

// over returns n/by, rounded up.
func over(n, by int) int { return (n + by - 1) / by }

// quantTables reads quantization tables (T.81, B.2.4.1).
func (d *decoder) quantTables(segment []byte) error {
	for len(segment) > 0 {
		precision, tq := segment[0]>>4, segment[0]&15
		if tq > 3 {
			return jpeg.FormatError("bad Tq value")
		}
		if precision > 1 {
			return jpeg.FormatError("bad Pq value")
		}
		segment = segment[1:]
		size := 64 << precision
		if len(segment) < size {
			return errQuantCut
		}
		q := new([64]uint16)
		for i := range q {
			if precision == 0 {
				q[i] = uint16(segment[i])
			} else {
				q[i] = binary.BigEndian.Uint16(segment[2*i:])
			}
		}
		d.quant[tq] = q
		segment = segment[size:]
	}
	return nil
}

// huffmanTables reads Huffman tables (T.81, B.2.4.2).
func (d *decoder) huffmanTables(segment []byte) error {
	for len(segment) > 0 {
		if len(segment) < 17 {
			return errLength
		}
		class, th := segment[0]>>4, segment[0]&15
		if class > 1 {
			return jpeg.FormatError("bad Tc value")
		}
		if th > 3 || d.baseline && th > 1 {
			return jpeg.FormatError("bad Th value")
		}
		tables := &d.dc
		if class == 1 {
			tables = &d.ac
		}
		if tables[th] == nil { // otherwise no scan uses the previous table any more
			tables[th] = new(table)
		}
		n, err := tables[th].read(segment[1:])
		if err != nil {
			return err
		}
		segment = segment[1+n:]
	}
	return nil
}
