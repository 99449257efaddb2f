package scaledjpeg

import (
	"encoding/binary"
)

// mixedRun decodes the MCUs from x to end of row y of a scan whose components have blocks of several sizes. Each
// component of an MCU is like an MCU of its own.
func (d *decoder) mixedRun(s *scan, y, x, end int) error {
	for ; x < end; x++ {
		for i := range s.parts {
			c := s.parts[i].component
			part := scan{parts: s.parts[i : i+1], side: c.side, order: c.order}
			if err := d.sequentialRun(&part, y, x, x+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// sequentialRun does the same if all blocks have the same size.
func (d *decoder) sequentialRun(s *scan, y, x, end int) error {
	if s.side == 1 {
		return d.meansOfRun(s, y, x, end)
	}
	side, order, c := s.side, s.order, new(coefficients)
	for ; x < end; x++ {
		for i := range s.parts {
			p := &s.parts[i]
			for v := range p.downMCU {
				row := (y*p.downMCU+v)*side*p.stride + x*p.acrossMCU*side
				for h := range p.acrossMCU {
					clear(c[:side*side])
					diff, found, err := d.bits.block(p.dcTable, p.acTable, order, c)
					if err != nil {
						return err
					}
					p.last += diff
					c[0] = p.last
					pix := p.pix[row+h*side:]
					switch {
					case found:
						transform(c, p.factors, pix, side, p.stride)
					case side == 2: // the compiler knows this length
						flat(level64(int64(c[0])*p.factors[0]+1<<(fixed+2)), pix, 2, p.stride)
					case side == 4:
						flat(level64(int64(c[0])*p.factors[0]+1<<(fixed+2)), pix, 4, p.stride)
					default:
						flat(level64(int64(c[0])*p.factors[0]+1<<(fixed+2)), pix, 8, p.stride)
					}
				}
			}
		}
	}
	return nil
}

// meansOfRun does the same at 1/8, where a block is one sample.
func (d *decoder) meansOfRun(s *scan, y, x, end int) error {
	order := s.order
	var c coefficients // no AC coefficient is wanted
	for ; x < end; x++ {
		for i := range s.parts {
			p := &s.parts[i]
			factor := int32(p.factors[0])
			for v := range p.downMCU {
				row := p.pix[(y*p.downMCU+v)*p.stride+x*p.acrossMCU:][:p.acrossMCU]
				for h := range row {
					diff, _, err := d.bits.block(p.dcTable, p.acTable, order, &c)
					if err != nil {
						return err
					}
					p.last += diff
					row[h] = mean(p.last, factor)
				}
			}
		}
	}
	return nil
}

// block decodes one block of a sequential scan (T.81, F.2.2). It returns the difference of the DC coefficient,
// stores the wanted AC coefficients in c, and reports whether there are any. It skips the others.
//
// Most of the decoding time is spent here. Therefore the state of the bits is kept in variables, and one
// look-up and a few shifts skip all codes that start in the next skipBits bits, twice per fill.
func (b *bits) block(dc, ac *table, o *order, c *coefficients) (diff int32, found bool, err error) {
	if b.pos > b.limit {
		if err := b.more(); err != nil {
			return 0, false, err
		}
	}
	b.fill()
	size, err := b.symbol(dc)
	if err != nil {
		return 0, false, err
	}
	if size > 16 {
		return 0, false, errDC
	}
	diff = b.value(uint(size))
	k, last := 1, o.last
	if ac.skip == nil {
		last = 63
	}
	for k <= last {
		b.fill()
		symbol, err := b.symbol(ac)
		if err != nil {
			return 0, false, err
		}
		if symbol == 0 {
			return diff, found, nil
		}
		if k, err = afterRun(symbol, k); err != nil {
			return 0, false, err
		}
		if size := uint(symbol & 15); size > 0 {
			c[o.place[(k-1)&63]] = b.value(size)
			found = found || k-1 <= o.last
		}
	}
	if k == 64 {
		return diff, found, nil
	}
	return diff, found, b.skip(ac, k)
}

// afterRun returns the position of the coefficient after the symbol's run of zeros and value.
func afterRun(symbol byte, k int) (int, error) {
	run, size := int(symbol>>4), symbol&15
	if size == 0 && run != 15 {
		return 0, errReserved
	}
	if k += run + 1; k > 64 {
		return 0, errBeyondBlock
	}
	return k, nil
}

// skip skips the rest of a block from coefficient k on.
func (b *bits) skip(ac *table, k int) error {
	look := ac.skip
	acc, n, pos := b.acc, b.n, b.pos
	for {
		var e, next int
		for {
			acc |= binary.BigEndian.Uint64(b.buf[pos:]) >> (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
			e = int(look[acc>>(64-skipBits)])
			if next = k + e>>skipLength; next >= skipEnd {
				break
			}
			acc <<= e & 31
			n -= uint(e & 31)
			k = next
			e = int(look[acc>>(64-skipBits)])
			if next = k + e>>skipLength; next >= skipEnd {
				break
			}
			acc <<= e & 31
			n -= uint(e & 31)
			k = next
		}
		if e>>skipLength >= skipEnd && next < 2*skipEnd {
			b.acc, b.n, b.pos = acc<<(e&31), n-uint(e&31), pos
			return nil
		}
		// The code is long or invalid, or the block ends without an end-of-block code.
		b.acc, b.n, b.pos = acc, n, pos
		b.fill()
		symbol, err := b.symbol(ac)
		if err != nil || symbol == 0 {
			return err
		}
		if k, err = afterRun(symbol, k); err != nil {
			return err
		}
		b.value(uint(symbol & 15))
		if k == 64 {
			return nil
		}
		acc, n, pos = b.acc, b.n, b.pos
	}
}
