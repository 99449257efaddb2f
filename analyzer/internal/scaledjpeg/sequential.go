package scaledjpeg

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
	acc, n, pos := b.refilled(b.acc, b.n, b.pos)
	e := dc.first[acc>>(64-firstBits)]
	if e == 0 {
		if e = dc.long(acc); e == 0 {
			return 0, false, errBadCode
		}
	}
	size := uint(e >> 8)
	if size > 16 {
		return 0, false, errDC
	}
	acc <<= e & 63
	diff = extend(acc, size)
	acc <<= size & 63
	n -= uint(e&63) + size
	k, last := 1, o.last
	if ac.skip == nil {
		last = 63
	}
	for k <= last {
		if n < 32 {
			acc, n, pos = b.refilled(acc, n, pos)
		}
		e := ac.first[acc>>(64-firstBits)]
		if e == 0 {
			if e = ac.long(acc); e == 0 {
				return 0, false, errBadCode
			}
		}
		acc <<= e & 63
		n -= uint(e & 63)
		symbol := byte(e >> 8)
		if symbol == 0 {
			b.acc, b.n, b.pos = acc, n, pos
			return diff, found, nil
		}
		if k, err = afterRun(symbol, k); err != nil {
			return 0, false, err
		}
		if size := uint(symbol & 15); size > 0 {
			c[o.place[(k-1)&63]] = extend(acc, size)
			found = found || k-1 <= o.last
			acc <<= size & 63
			n -= size
		}
	}
	if k == 64 {
		b.acc, b.n, b.pos = acc, n, pos
		return diff, found, nil
	}
	return diff, found, b.skip(ac, k, acc, n, pos)
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

// skip skips the rest of a block from coefficient k on. The state of the bits is passed in.
func (b *bits) skip(ac *table, k int, acc uint64, n uint, pos int) error {
	look := ac.skip
	for {
		var e, next int
		for {
			acc, n, pos = b.refilled(acc, n, pos)
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
