package scaledjpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
)

// The second bytes of the markers that need special treatment (T.81, table B.1).
const (
	markerTEM   = 0x01
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerSOF3  = 0xc3 // lossless
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerSOF9  = 0xc9 // arithmetic
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDNL   = 0xdc
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
)

// segments reads the file from its start to its end-of-image marker. Like libjpeg, it skips stray bytes between
// segments. If the image is complete, the rest may be anything.
func (d *decoder) segments(ctx context.Context) error {
	if !bytes.HasPrefix(d.data, []byte{0xff, markerSOI}) {
		return FormatError("missing SOI marker")
	}
	d.pos = 2
	for {
		if ended, err := d.next(ctx); ended || err != nil && d.complete() {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// next reads the next segment, and its scan if it is the header of one. It reports whether it is the end of the
// image.
func (d *decoder) next(ctx context.Context) (ended bool, err error) {
	marker, err := d.nextMarker()
	if err != nil || marker == markerEOI {
		return err == nil, err
	}
	segment, err := d.segment(marker)
	if err != nil {
		return false, err
	}
	return false, d.visit(ctx, marker, segment)
}

// complete reports whether all samples have been read to their last bit.
func (d *decoder) complete() bool {
	for i := range d.components {
		if c := &d.components[i]; !c.scanned || d.progressive && c.exact != 1<<64-1 {
			return false
		}
	}
	return d.components != nil && !d.inScan && !d.skipped
}

// nextMarker finds the next marker that is neither a stuffed byte nor a marker without a segment, and moves
// behind it.
func (d *decoder) nextMarker() (byte, error) {
	for {
		i := bytes.IndexByte(d.data[d.pos:], 0xff)
		if i < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		d.pos += i + 1
		for d.pos < len(d.data) && d.data[d.pos] == 0xff {
			d.pos++
		}
		if d.pos == len(d.data) {
			return 0, io.ErrUnexpectedEOF
		}
		marker := d.data[d.pos]
		d.pos++
		if marker != 0 && marker != markerTEM && !isRestart(marker) {
			return marker, nil
		}
	}
}

func isRestart(marker byte) bool { return marker >= markerRST0 && marker <= markerRST7 }

// segment returns the payload of the segment whose marker was just read, and moves behind it. Like libjpeg, it
// accepts the lengths 0 and 1, which are impossible, for segments that need not be understood.
func (d *decoder) segment(marker byte) ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 && (isApp(marker) || marker == markerCOM || marker == markerDNL) {
		n = 2
	}
	if n < 2 {
		return nil, errLength
	}
	if n > len(rest) {
		return nil, io.ErrUnexpectedEOF
	}
	d.pos += n
	return rest[2:n], nil
}

func isApp(marker byte) bool { return marker >= markerAPP0 && marker <= markerAPP15 }

func (d *decoder) visit(ctx context.Context, marker byte, segment []byte) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
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
		// Only a whole JFIF segment before the first scan counts, as in libjpeg. The same is true of Adobe's.
		if d.scans == 0 && len(segment) >= 14 && string(segment[:5]) == "JFIF\x00" {
			d.jfif = true
		}
	case markerAPP14:
		if d.scans == 0 && len(segment) >= 12 && string(segment[:5]) == "Adobe" {
			d.adobe, d.transform = true, segment[11]
		}
	case markerCOM, markerDNL, markerDAC:
	default:
		if !isApp(marker) {
			return unknown(marker)
		}
	}
	return nil
}

// unknown returns the reason why a marker is not understood.
func unknown(marker byte) error {
	switch {
	case marker < markerSOF0 || marker == markerSOI:
		return FormatError("unknown marker")
	case marker > markerSOF15 || marker == markerJPG:
		return UnsupportedError("unknown marker")
	case marker == markerSOF3:
		return UnsupportedError("lossless coding")
	case marker >= markerSOF9:
		return UnsupportedError("arithmetic coding")
	default:
		return UnsupportedError("differential coding")
	}
}

// frame reads a frame header (T.81, B.2.2).
func (d *decoder) frame(segment []byte) error {
	if d.components != nil {
		return FormatError("multiple SOF markers")
	}
	if len(segment) < 6 {
		return errLength
	}
	n := int(segment[5])
	if n != 1 && n != 3 && n != 4 {
		return UnsupportedError("number of components")
	}
	if segment[0] != 8 {
		return UnsupportedError("precision")
	}
	d.height = int(binary.BigEndian.Uint16(segment[1:]))
	d.width = int(binary.BigEndian.Uint16(segment[3:]))
	if d.height == 0 {
		d.height = d.laterHeight()
	}
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
		if c[2] > 3 {
			return FormatError("bad Tq value")
		}
	}
	if err := d.checkSampling(); err != nil {
		return err
	}
	d.layOut()
	d.unterminated = d.progressive && bytes.LastIndex(d.data[d.pos:], []byte{0xff, markerEOI}) < 0
	return nil
}

// laterHeight returns the height that follows the first scan (T.81, B.2.5), or 0.
func (d *decoder) laterHeight() int {
	ahead := decoder{data: d.data, pos: d.pos}
	for inScan := false; ; {
		marker, err := ahead.nextMarker()
		if err != nil || marker == markerEOI {
			return 0
		}
		segment, err := ahead.segment(marker)
		switch {
		case err != nil:
			return 0
		case inScan && marker == markerDNL && len(segment) == 2:
			return int(binary.BigEndian.Uint16(segment))
		case inScan:
			return 0
		}
		inScan = marker == markerSOS
	}
}

// checkSampling accepts the sampling factors that divide the largest ones. It ignores the factors of a gray
// image's only component (T.81, A.2.2).
func (d *decoder) checkSampling() error {
	for _, c := range d.components {
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return FormatError("bad sampling factors")
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	if len(d.components) == 1 {
		d.components[0].h, d.components[0].v = 1, 1
		d.maxH, d.maxV = 1, 1
	}
	for _, c := range d.components {
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return errFractional
		}
	}
	return nil
}

// layOut counts the MCUs and the blocks of each component (T.81, A.1.1 and A.2).
func (d *decoder) layOut() {
	h, v := d.maxH, d.maxV
	d.columns, d.rows = over(d.width, 8*h), over(d.height, 8*v)
	for i := range d.components {
		c := &d.components[i]
		c.columns, c.rows = over(over(d.width*c.h, h), 8), over(over(d.height*c.v, v), 8)
		c.side = d.side
		if d.enlarges(i) {
			for c.side < 8 && h*d.side%(2*c.h*c.side) == 0 && v*d.side%(2*c.v*c.side) == 0 {
				c.side *= 2
			}
		}
		c.order = newOrder(c.side)
		c.across, c.down = h*d.side/(c.h*c.side), v*d.side/(c.v*c.side)
		c.stride = d.columns * c.h * c.side
	}
}

// enlarges reports whether a component that has fewer samples than others is decoded at a larger scale, as
// libjpeg does with all of them. The chroma of common images stays small, which takes less time.
func (d *decoder) enlarges(i int) bool {
	c := d.components
	if i == 0 || i == 3 || d.isRGB() || len(c) == 4 && !d.isYCCK() {
		return true
	}
	_, named := subsampling(d.maxH/c[1].h, d.maxV/c[1].v)
	return !named || c[0].h < d.maxH || c[0].v < d.maxV || c[1].h != c[2].h || c[1].v != c[2].v
}

// over returns n/by, rounded up.
func over(n, by int) int { return (n + by - 1) / by }

// quantTables reads quantization tables (T.81, B.2.4.1).
func (d *decoder) quantTables(segment []byte) error {
	for len(segment) > 0 {
		precision, tq := segment[0]>>4, segment[0]&15
		if tq > 3 {
			return FormatError("bad Tq value")
		}
		segment = segment[1:]
		size := 64
		if precision > 0 {
			size = 128
		}
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
			return FormatError("bad Tc value")
		}
		if th > 3 {
			return FormatError("bad Th value")
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
