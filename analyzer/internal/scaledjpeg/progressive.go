package scaledjpeg

// progressed is the state of a component after the scans read so far.
type progressed struct {
	values  []int16  // side × side values of each block, in whole MCUs
	each    int      // side × side
	order   *order   // of the values
	nonzero []uint64 // a bit for each coefficient of a block; unused if last is 0
	// last is the last coefficient that is tracked, in zig-zag order: the last wanted one, or a later one if a
	// scan that refines a wanted coefficient refines others as well. The position of its bits depends on which
	// of these are nonzero.
	last int
}

func (d *decoder) newProgressed(c *component) *progressed {
	p := &progressed{each: c.side * c.side, order: c.order, last: c.order.last}
	blocks := d.columns * c.h * d.rows * c.v
	p.values = make([]int16, blocks*p.each)
	switch {
	case d.unterminated:
		p.last = 63 // Only a decoded scan is known to be complete.
	case c.side > 1:
		p.last = d.lastFollowed(c)
	}
	if p.last > 0 {
		p.nonzero = make([]uint64, blocks)
	}
	return p
}

// lastFollowed reads ahead in the scan headers. If these are damaged, decoding fails when it reaches the
// damage.
func (d *decoder) lastFollowed(c *component) int {
	ahead := decoder{data: d.data, pos: d.pos}
	var refined [64]int // last coefficient of the refining scans that start at each
	for {
		marker, err := ahead.nextMarker()
		if err != nil || marker == markerEOI {
			break
		}
		segment, err := ahead.segment(marker)
		if err != nil {
			break
		}
		if marker != markerSOS || len(segment) != 6 || segment[1] != c.id {
			continue
		}
		if from, to, high := int(segment[3]), int(segment[4]), segment[5]>>4; from < to && to < 64 && high > 0 {
			refined[from] = max(refined[from], to)
		}
	}
	last := c.order.last
	for from := 1; from <= last; from++ {
		last = max(last, refined[from])
	}
	return last
}

// firstMeans decodes the first bits of the DC coefficients (T.81, G.1.2.1).
func (d *decoder) firstMeans(s *scan, y, x, end int) error {
	b := &d.bits
	for ; x < end; x++ {
		for i := range s.parts {
			p := &s.parts[i]
			each := p.coded.each
			for v := range p.downMCU {
				at := ((y*p.downMCU+v)*d.columns*p.h + x*p.acrossMCU) * each
				for range p.acrossMCU {
					if err := b.more(); err != nil {
						return err
					}
					b.fill()
					size, err := b.symbol(p.dcTable)
					if err != nil {
						return err
					}
					if size > 16 {
						return errDC
					}
					p.last += b.value(uint(size))
					p.coded.values[at] = int16(p.last << s.low)
					at += each
				}
			}
		}
	}
	return nil
}

// refineMeans decodes one more bit of each DC coefficient.
func (d *decoder) refineMeans(s *scan, y, x, end int) error {
	b := &d.bits
	for ; x < end; x++ {
		for i := range s.parts {
			p := &s.parts[i]
			each := p.coded.each
			for v := range p.downMCU {
				if err := b.more(); err != nil {
					return err
				}
				b.fill()
				at := ((y*p.downMCU+v)*d.columns*p.h + x*p.acrossMCU) * each
				for range p.acrossMCU {
					p.coded.values[at] |= int16(b.take(1) << s.low)
					at += each
				}
			}
		}
	}
	return nil
}

// firstBand decodes the first bits of a band of AC coefficients (T.81, G.1.2.2).
func (d *decoder) firstBand(s *scan, y, x, end int) error {
	b := &d.bits
	p := &s.parts[0]
	for at := y*d.columns*p.h + x; x < end; x, at = x+1, at+1 {
		if s.endOfBandRun > 0 {
			s.endOfBandRun--
			continue
		}
		if err := b.more(); err != nil {
			return err
		}
		for k := s.from; k <= s.to; k++ {
			b.fill()
			symbol, err := b.symbol(p.acTable)
			if err != nil {
				return err
			}
			run, size := int(symbol>>4), uint(symbol&15)
			if size == 0 && run < 15 {
				s.endOfBandRun = 1<<run + int(b.take(uint(run))) - 1
				break
			}
			if k += run; k > s.to {
				return errBeyondBlock
			}
			if size > 0 {
				p.coded.set(at, k, b.value(size)<<s.low)
			}
		}
	}
	return nil
}

// set sets coefficient k of a block.
func (p *progressed) set(block, k int, value int32) {
	p.nonzero[block] |= 1 << k
	if place := int(p.order.place[k]); place != unwanted {
		p.values[block*p.each+place] = int16(value)
	}
}

// refineBand decodes one more bit of each nonzero coefficient of a band, and the coefficients that become
// nonzero (T.81, G.1.2.3).
func (d *decoder) refineBand(s *scan, y, x, end int) error {
	b := &d.bits
	p := &s.parts[0]
	for at := y*d.columns*p.h + x; x < end; x, at = x+1, at+1 {
		if err := b.more(); err != nil {
			return err
		}
		k := s.from
		for k <= s.to && s.endOfBandRun == 0 {
			b.fill()
			symbol, err := b.symbol(p.acTable)
			if err != nil {
				return err
			}
			run, size := int(symbol>>4), symbol&15
			var value int32
			switch {
			case size == 0 && run < 15:
				s.endOfBandRun = 1<<run + int(b.take(uint(run)))
				continue
			case size > 1:
				return FormatError("unexpected Huffman code")
			case size == 1:
				value = int32(b.take(1))<<(s.low+1) - 1<<s.low
			}
			if k = d.refineNonzero(s, at, k, run); k > s.to {
				return errBeyondBlock
			}
			if value != 0 {
				p.coded.set(at, k, value)
			}
			k++
		}
		if s.endOfBandRun > 0 {
			s.endOfBandRun--
			d.refineNonzero(s, at, k, 64)
		}
	}
	return nil
}

// refineNonzero adds one bit to each nonzero coefficient from k on, until it has passed the given number of
// zero coefficients. It returns the position after them.
func (d *decoder) refineNonzero(s *scan, block, k, zeros int) int {
	b := &d.bits
	p := s.parts[0].coded
	values := p.values[block*p.each:][:p.each]
	for ; k <= s.to; k++ {
		if p.nonzero[block]>>k&1 == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if b.n < 8 {
			b.fill()
		}
		bit := b.take(1)
		if place := int(p.order.place[k]); bit == 1 && place != unwanted {
			if values[place] >= 0 {
				values[place] += 1 << s.low
			} else {
				values[place] -= 1 << s.low
			}
		}
	}
	return k
}

// transformProgressed sets the samples of a component after all its scans have been read.
func (d *decoder) transformProgressed(c *component) {
	columns := d.columns * c.h
	each := c.coded.each
	for y := range d.rows * c.v {
		row := c.coded.values[y*columns*each:][:columns*each]
		pix := c.pix[y*c.side*c.stride:]
		if c.side == 1 {
			for x, v := range row {
				pix[x] = mean(int32(v), int32(c.factors[0]))
			}
			continue
		}
		for x := range columns {
			var block coefficients
			for i, v := range row[x*each:][:each] {
				block[i] = int32(v)
			}
			transform(&block, c.factors, pix[x*c.side:], c.side, c.stride)
		}
	}
}
