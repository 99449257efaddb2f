package scale

import "encoding/binary"

// source is an image, or one plane of it, as rows of interleaved 8-bit samples.
type source struct {
	width, height int // pixels of the image
	channels      int // samples per pixel
	subX, subY    int // pixels per sample, across and down; 0 means 1
	row           func(y int) []byte
}

// average returns width × height pixels. Each is the mean of its area of the source; a sample at the edge
// counts by the fraction that lies in the area. It can therefore also enlarge a plane of sparse chroma, or a
// tiny image, up to 256 times.
func (s source) average(width, height int) []byte {
	columns := partition{pixels: s.width, sub: max(s.subX, 1), parts: width}
	rows := partition{pixels: s.height, sub: max(s.subY, 1), parts: height}
	out := make([]byte, width*height*s.channels)
	band := newBand(columns.samples(), s.channels)
	ends, shortest := make([]end, width), columns.edge(1)
	for x := range ends {
		edge := columns.edge(x + 1)
		ends[x] = end{edge / one * s.channels, uint64(edge % one), edge - columns.edge(x) - shortest}
	}
	for y := range height {
		top, bottom := rows.edge(y), rows.edge(y+1)
		s.sumRows(band, top, bottom)
		band.setMeans(out[y*width*s.channels:], ends, shortest, bottom-top)
	}
	return out
}

// partition divides one axis of the image into equal parts and locates their edges among the samples, each of
// which stands for sub pixels.
type partition struct {
	pixels, sub, parts int
}

// samples returns the number of samples on the axis. The last one may extend beyond the image.
func (p partition) samples() int { return (p.pixels + p.sub - 1) / p.sub }

// one is the length of a sample, and the weight of a sample that lies entirely in a part.
const one = 256

// edge returns the start of part i, which is the end of part i-1, in 1/256 of a sample.
func (p partition) edge(i int) int {
	return i * p.pixels * one / (p.parts * p.sub)
}

// end is where a part ends.
type end struct {
	at     int    // index of the first sample that does not lie entirely before it
	cut    uint64 // part of this sample that lies before it
	longer int    // 1 if the part is by 1/256 longer than the shortest ones, or 0
}

// band holds the sums of the rows of one part.
type band struct {
	channels  int
	sums      []uint32 // 256 times the sum of each column
	even, odd []uint64 // plain sums of up to maxRows rows, four in a word
	tail      []byte   // the last samples of a row, padded to a word
	upTo      []uint64 // for each sample, the sum of all samples before it in its channel
}

// maxRows is the number of bytes that can be added in 16 bits.
const maxRows = 257

func newBand(samples, channels int) *band {
	n := samples * channels
	words := (n + 7) / 8
	return &band{
		channels: channels,
		sums:     make([]uint32, n, 8*words+channels),
		even:     make([]uint64, words), odd: make([]uint64, words), tail: make([]byte, 8),
		upTo: make([]uint64, n+channels),
	}
}

// sumRows adds up the rows between top and bottom: the rows at the edges by their weight, the others eight
// samples at a time.
func (s source) sumRows(b *band, top, bottom int) {
	clear(b.sums)
	// The rows from first to end lie entirely between top and bottom.
	first := (top + one - 1) / one
	end := max(first, bottom/one)
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

// mask selects every other byte of a word.
const mask = 0x00ff00ff00ff00ff

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

// addWords adds each whole word of row: its even bytes to even, its odd bytes to odd.
func addWords(even, odd []uint64, row []byte) {
	n := len(row) / 8
	even, odd = even[:n], odd[:n]
	for i := range even {
		v := binary.LittleEndian.Uint64(row[8*i:])
		even[i] += v & mask
		odd[i] += v >> 8 & mask
	}
}

// settle adds the plain sums to sums and clears them.
func (b *band) settle() {
	odd := b.odd[:len(b.even)]
	for i, e := range b.even {
		spread(b.sums[8*i:8*i+8], e, odd[i], one)
	}
}

// addWeighted adds a row of which only weight/256 belongs to the part. A weighted sample has at most 16 bits,
// so four are weighted in one operation.
func (b *band) addWeighted(row []byte, weight int) {
	row = row[:len(b.sums)]
	addWeightedWords(b.sums, row, uint64(weight))
	if rest := len(row) % 8; rest > 0 {
		clear(b.tail)
		copy(b.tail, row[len(row)-rest:])
		last := len(row) - rest
		addWeightedWords(b.sums[last:last+8], b.tail, uint64(weight))
	}
}

// addWeightedWords adds each whole word of row.
func addWeightedWords(sums []uint32, row []byte, weight uint64) {
	for i := 0; i <= len(row)-8; i += 8 {
		v := binary.LittleEndian.Uint64(row[i:])
		spread(sums[i:i+8], v&mask*weight, v>>8&mask*weight, 1)
	}
}

// spread adds the sums in two words to the sums of eight samples, multiplied by a factor.
func spread(sums []uint32, even, odd uint64, factor uint32) {
	_ = sums[7]
	sums[0] += uint32(even&0xffff) * factor
	sums[1] += uint32(odd&0xffff) * factor
	sums[2] += uint32(even>>16&0xffff) * factor
	sums[3] += uint32(odd>>16&0xffff) * factor
	sums[4] += uint32(even>>32&0xffff) * factor
	sums[5] += uint32(odd>>32&0xffff) * factor
	sums[6] += uint32(even>>48) * factor
	sums[7] += uint32(odd>>48) * factor
}

// setMeans sets the means of one row of parts, which is height/256 of a sample high. It computes each sum up to
// an edge once, including the fraction of the sample that the edge cuts; the sum between two edges is the
// difference.
func (b *band) setMeans(out []byte, ends []end, shortest, height int) {
	n := b.channels
	upTo := b.upTo[n:][:len(b.sums)]
	for i, v := range b.sums {
		upTo[i] = b.upTo[i] + uint64(v)
	}
	areas := [2]area{areaOf(height * shortest), areaOf(height * (shortest + 1))}
	sums := b.sums[:len(b.sums)+n] // no sample follows the last edge
	for c := range n {
		last, i := uint64(0), c
		for _, end := range ends {
			sum := b.upTo[end.at+c]*one + uint64(sums[end.at+c])*end.cut
			out[i] = areas[end.longer&1].mean(sum - last)
			last = sum
			i += n
		}
	}
}

// area divides sums by their area. It multiplies by the inverse, in 1/2^inverseBits, because many sums have the same.
type area struct{ size, half, inverse uint64 }

// smallArea is the area, 256 samples, up to which the inverse is exact enough: the product of its error, which is at most
// the area, and of a sum of at most 256 times the area, is at most 1<<inverseBits.
const (
	inverseBits = 56
	smallArea   = 1 << 24
)

func areaOf(size int) area {
	a := area{size: uint64(size), half: uint64(size) / 2}
	if a.size < smallArea {
		a.inverse = (1<<inverseBits)/a.size + 1
	}
	return a
}

// mean returns the rounded quotient, at most 255.
func (a *area) mean(sum uint64) byte {
	if a.inverse == 0 {
		return byte((sum + a.half) / a.size)
	}
	return byte((sum + a.half) * a.inverse >> inverseBits)
}
