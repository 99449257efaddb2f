package scaledpng

import "image"

// adam7 are the passes of an interlaced image: the first column and row, and the distances to the next ones.
var adam7 = [...]struct{ x, y, dx, dy int }{
	{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
}

// share is how a source pixel is divided between one part and the next one.
type share struct{ part, first, second uint32 }

// shares returns how each pixel of an axis is divided. There are no more parts than pixels, so a pixel touches at
// most two.
func (a axis) shares() []share {
	out := make([]share, a.pixels)
	part := 0
	for i := range out {
		for a.edge(part+1) <= i*one {
			part++
		}
		first := min(one, a.edge(part+1)-i*one)
		out[i] = share{uint32(part), uint32(first), uint32(one - first)}
	}
	return out
}

// mesh scales an image whose pixels come in any order to a smaller one whose pixels are the means of their
// areas. It keeps the sums of the whole result.
type mesh[T uint32 | uint64] struct {
	channels      int
	rows, columns axis
	across, down  []share
	line          []uint32 // 256 times the sums of the current row, and room for one more pixel
	sums          []T      // 65,536 times the sums of all, and room for one more row
}

func newMesh[T uint32 | uint64](width, height, channels int, size image.Point) *mesh[T] {
	m := &mesh[T]{channels: channels, rows: axis{height, size.Y}, columns: axis{width, size.X}}
	m.across, m.down = m.columns.shares(), m.rows.shares()
	m.line = make([]uint32, (size.X+1)*channels)
	m.sums = make([]T, size.X*channels*(size.Y+1))
	return m
}

// add adds a row of pixels in row y of the source, from column x on, each dx columns apart.
func (m *mesh[T]) add(row []byte, x, dx, y int) {
	n := m.channels
	clear(m.line)
	for ; len(row) >= n; row = row[n:] {
		s := m.across[x]
		at := int(s.part) * n
		line := m.line[at : at+2*n : at+2*n]
		for c, v := range row[:n] {
			line[c] += s.first * uint32(v)
			line[c+n] += s.second * uint32(v)
		}
		x += dx
	}
	s := m.down[y]
	stride := len(m.line) - n
	m.addLine(int(s.part)*stride, s.first)
	if s.second > 0 {
		m.addLine((int(s.part)+1)*stride, s.second)
	}
}

// addLine adds the current row, with a weight, to the sums from at on.
func (m *mesh[T]) addLine(at int, weight uint32) {
	line := m.line[:len(m.line)-m.channels]
	sums := m.sums[at:][:len(line)]
	for i, v := range line {
		sums[i] += T(v) * T(weight)
	}
}

// setMeans writes the result.
func (m *mesh[T]) setMeans(out *image.NRGBA) {
	means := make([]byte, len(m.line)-m.channels)
	sums := m.sums
	for y := range out.Rect.Dy() {
		height := m.rows.edge(y+1) - m.rows.edge(y)
		for i := range means {
			x := i / m.channels
			area := T(height) * T(m.columns.edge(x+1)-m.columns.edge(x))
			means[i] = uint8((sums[i] + area/2) / area)
		}
		sums = sums[len(means):]
		setPixels(out.Pix[y*out.Stride:], means, m.channels)
	}
}

// fits32 reports whether the sums of a pixel of the result fit in 32 bits.
func fits32(width, height int, size image.Point) bool {
	const most = 1<<32/(one*one*256) - 1 // source pixels of 255, and half of their area
	return (width/size.X+1)*(height/size.Y+1) <= most
}

// passes decodes an interlaced image into out.
func (d *decoder) passes(out *image.NRGBA) error {
	if fits32(d.header.width, d.header.height, out.Rect.Size()) {
		return passesOf[uint32](d, out)
	}
	return passesOf[uint64](d, out)
}

func passesOf[T uint32 | uint64](d *decoder, out *image.NRGBA) error {
	s := newSampler(&d.header)
	m := newMesh[T](d.header.width, d.header.height, s.channels, out.Rect.Size())
	for _, p := range adam7 {
		d.startPass()
		pixels := (d.header.width - p.x + p.dx - 1) / p.dx
		if pixels <= 0 {
			continue
		}
		for y := p.y; y < d.header.height; y += p.dy {
			row, err := d.nextRow(pixels)
			if err != nil {
				return err
			}
			m.add(s.convert(row, pixels), p.x, p.dx, y)
		}
	}
	m.setMeans(out)
	return nil
}
