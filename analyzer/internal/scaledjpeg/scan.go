package scaledjpeg

import (
	"context"
	"image/jpeg"
)

// scan is one scan, as specified in its header (T.81, B.2.3).
type scan struct {
	parts        []part
	columns      int // MCUs per row
	rows         int
	from, to     int  // coefficients of the scan, in zig-zag order, inclusive
	high, low    uint // bit positions of the successive approximation before and after the scan
	endOfBandRun int  // following blocks without coefficients in this band
}

// part is one component of a scan.
type part struct {
	*component
	acrossMCU, downMCU int // blocks per MCU
	dcTable, acTable   *table
	last               int32 // previous DC value
}

// readScan reads a scan header and then decodes or skips the scan.
func (d *decoder) readScan(ctx context.Context, segment []byte) error {
	s, err := d.scanHeader(segment)
	if err != nil {
		return err
	}
	if err := d.prepare(s); err != nil {
		return err
	}
	switch {
	case !d.progressive:
		return d.decodeScan(ctx, s, d.sequentialRun)
	case s.from == 0 && s.high == 0:
		return d.decodeScan(ctx, s, d.firstMeans)
	case s.from == 0:
		return d.decodeScan(ctx, s, d.refineMeans)
	case s.from > s.parts[0].coded.last:
		return d.skipScan(ctx, s)
	case s.high == 0:
		return d.decodeScan(ctx, s, d.firstBand)
	default:
		return d.decodeScan(ctx, s, d.refineBand)
	}
}

// scanHeader reads a scan header and finds the components and tables that it names.
func (d *decoder) scanHeader(segment []byte) (*scan, error) {
	if len(d.components) == 0 {
		return nil, jpeg.FormatError("missing SOF marker")
	}
	n := 0
	if len(segment) > 0 {
		n = int(segment[0])
	}
	if n < 1 || n > len(d.components) || len(segment) != 4+2*n {
		return nil, errLength
	}
	s := &scan{columns: d.columns, rows: d.rows, to: 63}
	blocks := 0
	for i := range n {
		c := d.component(segment[1+2*i])
		if c == nil {
			return nil, jpeg.FormatError("unknown component selector")
		}
		for _, other := range s.parts {
			if other.component == c {
				return nil, jpeg.FormatError("repeated component selector")
			}
		}
		dc, ac := segment[2+2*i]>>4, segment[2+2*i]&15
		if dc > 3 || ac > 3 || d.baseline && (dc > 1 || ac > 1) {
			return nil, jpeg.FormatError("bad table selector")
		}
		s.parts = append(s.parts, part{component: c, acrossMCU: c.h, downMCU: c.v, dcTable: d.dc[dc], acTable: d.ac[ac]})
		blocks += c.h * c.v
	}
	if len(d.components) > 1 && blocks > 10 {
		return nil, jpeg.FormatError("total sampling factors too large")
	}
	if n == 1 {
		// Each MCU of a scan of one component is one block (T.81, A.2.2).
		p := &s.parts[0]
		p.acrossMCU, p.downMCU = 1, 1
		s.columns, s.rows = p.columns, p.rows
	}
	if d.progressive {
		return s, s.setBand(segment[1+2*n:])
	}
	return s, nil
}

// setBand reads the fields that only a progressive scan uses.
func (s *scan) setBand(p []byte) error {
	s.from, s.to = int(p[0]), int(p[1])
	s.high, s.low = uint(p[2]>>4), uint(p[2]&15)
	switch {
	case s.from == 0 && s.to != 0, s.from > s.to, s.to > 63:
		return jpeg.FormatError("bad spectral selection bounds")
	case s.from != 0 && len(s.parts) != 1:
		return jpeg.FormatError("progressive AC coefficients for more than one component")
	case s.high != 0 && s.high != s.low+1:
		return jpeg.FormatError("bad successive approximation values")
	}
	return nil
}

func (d *decoder) component(id byte) *component {
	for i := range d.components {
		if d.components[i].id == id {
			return &d.components[i]
		}
	}
	return nil
}

// prepare checks that the tables for the scan exist, and allocates what each component needs for its first
// scan.
func (d *decoder) prepare(s *scan) error {
	for i := range s.parts {
		p := &s.parts[i]
		needsDC := s.from == 0 && s.high == 0
		if needsDC && p.dcTable == nil || s.to > 0 && p.acTable == nil {
			return jpeg.FormatError("uninitialized Huffman table")
		}
		if s.from == 0 {
			p.scanned = true
		}
		if !d.progressive {
			if d.order.last < 63 && p.columns*p.rows >= d.manyBlocks {
				p.acTable.prepareSkip()
			}
		}
		if p.factors != nil {
			continue
		}
		q := d.quant[p.tq]
		if q == nil {
			return errNoQuant
		}
		p.factors = newFactors(q, d.side)
		p.pix = make([]byte, p.stride*d.rows*p.v*d.side)
		if d.progressive {
			p.coded = d.newProgressed(p.component)
		}
	}
	return nil
}

// decodeScan decodes the entropy-coded data after a scan header. It calls run once for the MCUs of a row up to
// the next restart.
func (d *decoder) decodeScan(ctx context.Context, s *scan, run func(s *scan, y, x, end int) error) error {
	d.bits.begin(d.pos)
	left := d.interval
	restart := byte(markerRST0)
	for y := range s.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		for x := 0; x < s.columns; {
			end := s.columns
			if d.interval > 0 {
				if left == 0 {
					if err := d.restart(s, restart); err != nil {
						return err
					}
					restart = markerRST0 | (restart+1)&7
					left = d.interval
				}
				end = min(end, x+left)
				left -= end - x
			}
			if err := run(s, y, x, end); err != nil {
				return err
			}
			x = end
		}
	}
	d.pos = d.bits.from
	return d.bits.checkEnd()
}

// restart moves to the expected restart marker. It skips stray bytes before the marker, as image/jpeg does, but
// no other markers.
func (d *decoder) restart(s *scan, marker byte) error {
	if err := d.bits.checkEnd(); err != nil {
		return err
	}
	next, at, err := d.nextInScan(d.bits.from)
	if err != nil {
		return err
	}
	if next != marker {
		return errRestart
	}
	d.bits.begin(at + 2)
	for i := range s.parts {
		s.parts[i].last = 0
	}
	s.endOfBandRun = 0
	return nil
}
