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
// source. When each stands for many samples, parts end between samples and whole
// words are added at once; else the samples at the edges count by how much of
// them belongs to the part, which also enlarges a plane of sparse chroma.
func (s source) average(width, height int) []byte {
	s.subX, s.subY = max(s.subX, 1), max(s.subY, 1)
	columns := partition{pixels: s.width, sub: s.subX, parts: width}
	rows := partition{pixels: s.height, sub: s.subY, parts: height}
	const many = 3
	if columns.samples() >= many*width && rows.samples() >= many*height && rows.samples()/height < maxSum16-1 {
		return s.averageWhole(columns, rows)
	}
	return s.averageExact(columns, rows)
}

// partition cuts one axis of the picture into equal parts and tells where they lie
// among the samples, each of which stands for sub pixels.
type partition struct {
	pixels, sub, parts int
}

// samples is how many samples the axis has. The last may stick out of the picture.
func (p partition) samples() int { return (p.pixels + p.sub - 1) / p.sub }

// edge is where part i begins, to the nearest sample.
func (p partition) edge(i int) int {
	if i == p.parts {
		return p.samples()
	}
	n := p.parts * p.sub
	return (2*i*p.pixels + n) / (2 * n)
}

// weightOne is the weight of a sample that is wholly inside a part.
const weightOne = 256

// span is where part i begins and ends in 1/256 of a sample. It is never empty.
func (p partition) span(i int) (from, to int) {
	n := p.parts * p.sub
	from, to = i*p.pixels*weightOne/n, (i+1)*p.pixels*weightOne/n
	return from, max(to, from+1)
}

// weight is how much of sample i lies between from and to.
func weight(i, from, to int) uint32 {
	return uint32(min((i+1)*weightOne, to) - max(i*weightOne, from)) //nolint:gosec // From 1 to 256.
}

// averageExact weighs each sample by how much of it lies in the part.
func (s source) averageExact(columns, rows partition) []byte {
	out := make([]byte, 0, columns.parts*rows.parts*s.channels)
	sums := make([]uint32, columns.samples()*s.channels)
	for y := range rows.parts {
		clear(sums)
		top, bottom := rows.span(y)
		for sy := top / weightOne; sy*weightOne < bottom; sy++ {
			w := weight(sy, top, bottom)
			for i, v := range s.row(sy)[:len(sums)] {
				sums[i] += w * uint32(v)
			}
		}
		for x := range columns.parts {
			left, right := columns.span(x)
			area := uint64(bottom-top) * uint64(right-left) //nolint:gosec // Both are positive.
			for c := range s.channels {
				total := area / 2
				for sx := left / weightOne; sx*weightOne < right; sx++ {
					total += uint64(weight(sx, left, right)) * uint64(sums[sx*s.channels+c])
				}
				out = append(out, uint8(total/area)) //nolint:gosec // A mean of bytes.
			}
		}
	}
	return out
}

// maxSum16 is how many bytes can be added in 16 bits.
const maxSum16 = 257

// averageWhole gives each sample to one part only. It adds the rows of a part
// eight samples at a time, each sum in 16 bits of a word.
func (s source) averageWhole(columns, rows partition) []byte {
	n := columns.samples() * s.channels
	out := make([]byte, 0, columns.parts*rows.parts*s.channels)
	words := (n + 7) / 8
	even, odd := make([]uint64, words), make([]uint64, words)
	sums := make([]uint16, 8*words)
	tail := make([]byte, 8)
	for y := range rows.parts {
		clear(even)
		clear(odd)
		top, bottom := rows.edge(y), rows.edge(y+1)
		for sy := top; sy < bottom; sy++ {
			row := s.row(sy)[:n]
			addRow(even, odd, row)
			if n%8 != 0 {
				clear(tail)
				copy(tail, row[n&^7:])
				addRow(even[words-1:], odd[words-1:], tail)
			}
		}
		spread(sums, even, odd)
		out = s.appendMeans(out, sums, columns, bottom-top)
	}
	return out
}

// addRow adds each whole word of row: its even bytes to even, its odd ones to odd.
func addRow(even, odd []uint64, row []byte) {
	const mask = 0x00ff00ff00ff00ff
	n := len(row) / 8
	even, odd = even[:n], odd[:n]
	for i := range even {
		v := binary.LittleEndian.Uint64(row[8*i:])
		even[i] += v & mask
		odd[i] += v >> 8 & mask
	}
}

// spread puts the sums back in the order of the samples.
func spread(sums []uint16, even, odd []uint64) {
	odd = odd[:len(even)]
	for i, e := range even {
		o := odd[i]
		p := sums[8*i : 8*i+8 : 8*i+8]
		p[0], p[2], p[4], p[6] = uint16(e), uint16(e>>16), uint16(e>>32), uint16(e>>48) //nolint:gosec // The four quarters of a word.
		p[1], p[3], p[5], p[7] = uint16(o), uint16(o>>16), uint16(o>>32), uint16(o>>48) //nolint:gosec // The four quarters of a word.
	}
}

// appendMeans appends the means of one row of parts, height samples high.
func (s source) appendMeans(out []byte, sums []uint16, columns partition, height int) []byte {
	from := 0
	for x := range columns.parts {
		to := columns.edge(x + 1)
		area := uint32((to - from) * height) //nolint:gosec // At most a picture of 20,000 × 20,000.
		for c := range s.channels {
			total := area / 2
			for i := from*s.channels + c; i < to*s.channels; i += s.channels {
				total += uint32(sums[i])
			}
			out = append(out, uint8(total/area)) //nolint:gosec // A mean of bytes.
		}
		from = to
	}
	return out
}
