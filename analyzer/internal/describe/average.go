package describe

import "encoding/binary"

// source is a picture or one plane of it, as rows of interleaved 8-bit samples.
type source struct {
	width, height int // pixels of the picture
	channels      int // samples per pixel
	subX, subY    int // pixels per sample, across and down; 0 means 1
	row           func(y int) []byte
}

// average returns width × height pixels, each the mean of its part of the
// source, in which the samples at the edges count by how much of them belongs to
// the part. So it also enlarges a plane of sparse chroma, or a tiny picture.
func (s source) average(width, height int) []byte {
	columns := partition{pixels: s.width, sub: max(s.subX, 1), parts: width}
	rows := partition{pixels: s.height, sub: max(s.subY, 1), parts: height}
	out := make([]byte, 0, width*height*s.channels)
	band := newBand(columns.samples() * s.channels)
	parts := columns.spans()
	for y := range height {
		top, bottom := rows.span(y)
		s.sumRows(band, top, bottom)
		out = s.appendMeans(out, band.sums, parts, bottom-top)
	}
	return out
}

// partition cuts one axis of the picture into equal parts and tells where they lie
// among the samples, each of which stands for sub pixels.
type partition struct {
	pixels, sub, parts int
}

// samples is how many samples the axis has. The last may stick out of the picture.
func (p partition) samples() int { return (p.pixels + p.sub - 1) / p.sub }

// one is the length of a sample, and the weight of one that is wholly in a part.
const one = 256

// span is where part i begins and ends in 1/256 of a sample. It is never empty.
func (p partition) span(i int) (from, to int) {
	n := p.parts * p.sub
	from, to = i*p.pixels*one/n, (i+1)*p.pixels*one/n
	return from, max(to, from+1)
}

// part is where a part lies: from, to in 1/256 of a sample, and the samples
// first to end that are wholly in it.
type part struct {
	from, to, first, end int
}

// spans are all the parts of an axis.
func (p partition) spans() []part {
	parts := make([]part, p.parts)
	for i := range parts {
		from, to := p.span(i)
		first, end := whole(from, to)
		parts[i] = part{from, to, first, end}
	}
	return parts
}

// whole is the range of samples that lie wholly between from and to. What of them
// is left, at the edges, is at most a sample on each side.
func whole(from, to int) (first, end int) {
	first = (from + one - 1) / one
	return first, max(first, to/one)
}

// band holds the sums of the rows of one part.
type band struct {
	sums      []uint32 // 256 times the sum of each column
	even, odd []uint64 // the plain sums, four in a word, of up to maxRows rows
	tail      []byte   // the last samples of a row, filled up to a word
}

// maxRows is how many bytes can be added in 16 bits.
const maxRows = 257

func newBand(samples int) *band {
	words := (samples + 7) / 8
	return &band{
		sums: make([]uint32, samples, 8*words),
		even: make([]uint64, words), odd: make([]uint64, words), tail: make([]byte, 8),
	}
}

// sumRows adds up the rows between top and bottom: those at the edges by their
// weight, the others eight samples at a time.
func (s source) sumRows(b *band, top, bottom int) {
	clear(b.sums)
	first, end := whole(top, bottom)
	for from := first; from < end; from += maxRows {
		clear(b.even)
		clear(b.odd)
		for y := from; y < min(end, from+maxRows); y++ {
			b.add(s.row(y)[:len(b.sums)])
		}
		b.settle()
	}
	if first*one > bottom {
		// The part lies inside one row.
		b.addWeighted(s.row(top/one), bottom-top)
		return
	}
	if w := first*one - top; w > 0 {
		b.addWeighted(s.row(first-1), w)
	}
	if w := bottom - end*one; w > 0 {
		b.addWeighted(s.row(end), w)
	}
}

// add adds a row to the plain sums.
func (b *band) add(row []byte) {
	addWords(b.even, b.odd, row)
	if rest := len(row) % 8; rest != 0 {
		clear(b.tail)
		copy(b.tail, row[len(row)-rest:])
		last := len(b.even) - 1
		addWords(b.even[last:], b.odd[last:], b.tail)
	}
}

// addWords adds each whole word of row: its even bytes to even, its odd ones to odd.
func addWords(even, odd []uint64, row []byte) {
	const mask = 0x00ff00ff00ff00ff
	n := len(row) / 8
	even, odd = even[:n], odd[:n]
	for i := range even {
		v := binary.LittleEndian.Uint64(row[8*i:])
		even[i] += v & mask
		odd[i] += v >> 8 & mask
	}
}

// settle moves the plain sums over to the others.
func (b *band) settle() {
	sums, odd := b.sums[:cap(b.sums)], b.odd[:len(b.even)]
	for i, e := range b.even {
		o := odd[i]
		p := sums[8*i : 8*i+8 : 8*i+8]
		p[0] += uint32(e&0xffff) * one
		p[1] += uint32(o&0xffff) * one
		p[2] += uint32(e>>16&0xffff) * one
		p[3] += uint32(o>>16&0xffff) * one
		p[4] += uint32(e>>32&0xffff) * one
		p[5] += uint32(o>>32&0xffff) * one
		p[6] += uint32(e>>48) * one
		p[7] += uint32(o>>48) * one
	}
}

func (b *band) addWeighted(row []byte, weight int) {
	w := uint32(weight) //nolint:gosec // From 1 to 256.
	for i, v := range row[:len(b.sums)] {
		b.sums[i] += w * uint32(v)
	}
}

// appendMeans appends the means of one row of parts, of height 1/256 of a sample.
func (s source) appendMeans(out []byte, sums []uint32, columns []part, height int) []byte {
	n := s.channels
	for _, p := range columns {
		area := uint64(height) * uint64(p.to-p.from) //nolint:gosec // Both are positive.
		for c := range n {
			total := uint64(0)
			if p.first*one > p.to {
				// The part lies inside one sample.
				total = uint64(sums[p.from/one*n+c]) * uint64(p.to-p.from) //nolint:gosec // Positive.
			} else {
				for i := p.first*n + c; i < p.end*n; i += n {
					total += uint64(sums[i])
				}
				total *= one
				if w := p.first*one - p.from; w > 0 {
					total += uint64(sums[(p.first-1)*n+c]) * uint64(w)
				}
				if w := p.to - p.end*one; w > 0 {
					total += uint64(sums[p.end*n+c]) * uint64(w)
				}
			}
			out = append(out, uint8((total+area/2)/area)) //nolint:gosec // A mean of bytes.
		}
	}
	return out
}
