package scaledjpeg

import (
	"context"
	"slices"
)

// scan is one scan, as specified in its header (T.81, B.2.3).
type scan struct {
	parts        []part
	columns      int // MCUs per row
	rows         int
	from, to     int  // coefficients of the scan, in zig-zag order, inclusive
	high, low    uint // bit positions of the successive approximation before and after the scan
	endOfBandRun int  // following blocks without coefficients in this band
	side         int  // samples of all blocks, across and down, and
	order        *order
	mixed        bool // unless their sizes differ
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
	d.scans++
	d.inScan = true
	if err := d.prepare(s); err != nil {
		return err
	}
	if err := d.entropyCoded(ctx, s); err != nil {
		return err
	}
	d.inScan = false
	return nil
}

// entropyCoded decodes or skips the data of a scan.
func (d *decoder) entropyCoded(ctx context.Context, s *scan) error {
	switch {
	case !d.progressive && s.mixed:
		return d.decodeScan(ctx, s, d.mixedRun)
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
		return nil, errNoFrame
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
		c := d.component(s, segment[1+2*i])
		if c == nil {
			return nil, FormatError("unknown component selector")
		}
		dc, ac := segment[2+2*i]>>4, segment[2+2*i]&15
		s.parts = append(s.parts, part{component: c, acrossMCU: c.h, downMCU: c.v, dcTable: d.table(0, dc), acTable: d.table(1, ac)})
		blocks += c.h * c.v
		s.mixed = s.mixed || i > 0 && c.side != s.side
		s.side, s.order = c.side, c.order
	}
	if n > 1 && blocks > 10 {
		return nil, FormatError("total sampling factors too large")
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
		return FormatError("bad spectral selection bounds")
	case s.from != 0 && len(s.parts) != 1:
		return FormatError("progressive AC coefficients for more than one component")
	case s.high != 0 && s.high != s.low+1:
		return FormatError("bad successive approximation values")
	}
	return nil
}

// component returns the first component of the identifier that the scan does not have yet. Some encoders give
// several components the same one.
func (d *decoder) component(s *scan, id byte) *component {
	for i := range d.components {
		c := &d.components[i]
		if c.id == id && !slices.ContainsFunc(s.parts, func(p part) bool { return p.component == c }) {
			return c
		}
	}
	return nil
}

// table returns the current table th of a class, or nil. Motion JPEG, which is sequential, relies on the
// standard tables.
func (d *decoder) table(class, th byte) *table {
	tables := [2]*[4]*table{&d.dc, &d.ac}[class]
	if th > 3 {
		return nil
	}
	if tables[th] == nil && !d.progressive {
		tables[th] = standard(class, th)
	}
	return tables[th]
}

// prepare checks that the tables for the scan exist, and allocates what each component needs for its first
// scan.
func (d *decoder) prepare(s *scan) error {
	for i := range s.parts {
		p := &s.parts[i]
		if s.from == 0 && s.high == 0 {
			if err := p.dcTable.check(); err != nil {
				return err
			}
		}
		if s.to > 0 {
			if err := p.acTable.check(); err != nil {
				return err
			}
		}
		if s.from == 0 {
			p.scanned = true
		}
		band := uint64(1)<<(s.to-s.from)<<1 - 1
		p.exact &^= band << s.from
		if s.low == 0 {
			p.exact |= band << s.from
		}
		if !d.progressive {
			if p.order.last < 63 && p.columns*p.rows >= d.manyBlocks {
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
		p.factors = newFactors(q, p.side)
		p.pix = make([]byte, p.stride*d.rows*p.v*p.side)
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
