package scaledpng

import (
	"encoding/binary"
	"image"
	"math"
	"math/bits"
)

// one is the length of a source pixel, and the weight of one that lies entirely in a pixel of the result.
const one = 256

// axis divides the pixels of one side of the source into equal parts, the pixels of the result.
type axis struct{ pixels, parts int }

// edge returns the start of part i, which is the end of part i-1, in 1/256 of a pixel.
func (a axis) edge(i int) int { return i * a.pixels * one / a.parts }

// box scales an image to a smaller one whose pixels are the means of their areas. It takes the rows of the
// source one after the other and keeps only one row of sums.
//
// A row that two parts share is weighted once: the later part counts it as a whole and subtracts what belongs to
// the earlier one.
type box struct {
	out      *image.NRGBA
	channels int
	rows     axis
	y, part  int // the next row of the source, and the part that it starts in
	columns  []column
	least    int      // least number of pixels in the width of a column
	narrow   int      // least width of a column
	words    int      // words of a row
	added    int      // rows in whole
	whole    []uint64 // sums of up to maxRows rows
	last     []uint64 // the share of the current part in its last row, times 256
	before   []uint64 // the share of the part before it in its first row
	sums     []uint32 // 256 times the sum of each column of the current part
	means    []byte   // one row of the result
}

// maxRows is the number of bytes that can be added in 16 bits.
const maxRows = 257

func newBox(width, height, channels int, out *image.NRGBA) *box {
	size := out.Rect.Size()
	words := (width*channels + spare - 1) / spare * (spare / wide)
	b := &box{
		out: out, channels: channels, rows: axis{height, size.Y}, words: words,
		columns: make([]column, size.X), least: width / size.X, narrow: width * one / size.X,
		whole: make([]uint64, 2*words), last: make([]uint64, 2*words), before: make([]uint64, 2*words),
		sums: make([]uint32, wide*words+2*channels), means: make([]byte, size.X*channels),
	}
	for x := range b.columns {
		across := axis{width, size.X}
		b.columns[x] = b.column(across.edge(x), across.edge(x+1))
	}
	return b
}

// column is one pixel of the result between two edges: the mean of box.least whole pixels from first on, and of
// parts of others.
type column struct {
	first int    // index of the first sample
	cut   uint64 // part of the first pixel that lies before the left edge
	next  uint64 // part of the pixel behind the whole ones that belongs to the column
	after uint64 // part of the one behind that
	wider int    // width, beyond the least
}

func (b *box) column(left, right int) column {
	c := column{first: left / one * b.channels, cut: uint64(left % one), next: uint64(right % one), wider: right - left - b.narrow}
	if right/one-left/one > b.least {
		c.next, c.after = one, c.next
	}
	return c
}

// add adds the next row, which spare bytes follow. They are added too, but count nothing.
func (b *box) add(row []byte) {
	top, bottom := b.y*one, (b.y+1)*one
	b.y++
	row = row[:wide*b.words]
	end := b.rows.edge(b.part + 1)
	if end < bottom {
		setWeighted(b.last, row, uint64(end-top))
		b.finishPart(end)
		b.last, b.before = b.before, b.last
	}
	addWhole(b.whole, row)
	b.added++
	switch {
	case end == bottom:
		b.finishPart(end)
	case b.added == maxRows:
		b.settle()
	}
}

// The sums of a word of eight bytes are two words with four lanes of 16 bits: those of the even bytes and those
// of the odd bytes.

// addWhole adds a row to sums.
func addWhole(sums []uint64, row []byte) {
	for i := 0; i <= len(row)-spare; i += spare {
		s, r := sums[i/4:i/4+8:i/4+8], row[i:i+spare:i+spare]
		for w := range 4 {
			v := binary.LittleEndian.Uint64(r[wide*w:])
			s[2*w] += v & lowBytes
			s[2*w+1] += v >> 8 & lowBytes
		}
	}
}

// setWeighted sets sums to a row times a weight of less than 256.
func setWeighted(sums []uint64, row []byte, weight uint64) {
	for i := 0; i <= len(row)-wide; i += wide {
		v := binary.LittleEndian.Uint64(row[i:])
		sums[i/4], sums[i/4+1] = v&lowBytes*weight, v>>8&lowBytes*weight
	}
}

// settle moves the sums of whole rows, and of the shares in other rows, to sums.
func (b *box) settle() {
	for i := 0; i <= len(b.whole)-2; i += 2 {
		s := b.sums[4*i : 4*i+8 : 4*i+8]
		even0, even1 := settled(b.whole[i], b.last[i], b.before[i])
		odd0, odd1 := settled(b.whole[i+1], b.last[i+1], b.before[i+1])
		s[0] += uint32(even0)
		s[1] += uint32(odd0)
		s[2] += uint32(even1)
		s[3] += uint32(odd1)
		s[4] += uint32(even0 >> 32)
		s[5] += uint32(odd0 >> 32)
		s[6] += uint32(even1 >> 32)
		s[7] += uint32(odd1 >> 32)
	}
	clear(b.whole)
	clear(b.before)
	b.added = 0
}

// settled returns 256 times whole, plus last, minus before: of the first and third lane, and of the second and
// fourth, in lanes of 32 bits.
func settled(whole, last, before uint64) (even, odd uint64) {
	const half = 0x0000ffff0000ffff
	return whole&half<<8 + last&half - before&half, whole>>16&half<<8 + last>>16&half - before>>16&half
}

// finishPart writes the means of the current part, which ends at end, and starts the next one.
func (b *box) finishPart(end int) {
	b.settle()
	b.setMeans(uint64(end - b.rows.edge(b.part)))
	clear(b.sums)
	setPixels(b.out.Pix[b.part*b.out.Stride:], b.means, b.channels)
	b.part++
}

// setMeans computes the means of a part that is height/256 pixels high.
func (b *box) setMeans(height uint64) {
	n := b.channels
	behind := b.least * n
	areas := [2]divisor{divisorOf(height * uint64(b.narrow)), divisorOf(height * uint64(b.narrow+1))}
	means := b.means
	for _, column := range b.columns {
		sums := b.sums[column.first:][:behind+2*n]
		area := areas[column.wider]
		for c := range n {
			whole := uint64(0)
			for at := c; at < behind; at += n {
				whole += uint64(sums[at])
			}
			sum := whole*one - uint64(sums[c])*column.cut + uint64(sums[behind+c])*column.next + uint64(sums[behind+n+c])*column.after
			means[c] = area.mean(sum)
		}
		means = means[n:]
	}
}

// divisor divides by an area with a multiplication, which is faster than a division if several sums have the
// same area.
type divisor struct{ area, inverse uint64 }

// smallArea is the area up to which the inverse is exact enough: for sums of at most 256 * area, the product of
// the sum and the error of the inverse, which is at most area, stays below 1<<64.
const smallArea = 1 << 28

func divisorOf(area uint64) divisor { return divisor{area, math.MaxUint64/area + 1} }

// mean returns sum/area, rounded; it is at most 255.
func (d divisor) mean(sum uint64) byte {
	sum += d.area / 2
	if d.area >= smallArea {
		return byte(sum / d.area)
	}
	quotient, _ := bits.Mul64(sum, d.inverse)
	return byte(quotient)
}

// setPixels writes pixels of some channels, whose colors are multiplied by alpha, as straight RGBA.
func setPixels(dst, src []byte, channels int) {
	for ; len(src) >= channels; src = src[channels:] {
		p := dst[:4:4]
		switch channels {
		case 1:
			p[0], p[1], p[2], p[3] = src[0], src[0], src[0], 255
		case 2:
			v := straight(src[0], src[1])
			p[0], p[1], p[2], p[3] = v, v, v, src[1]
		case 3:
			p[0], p[1], p[2], p[3] = src[0], src[1], src[2], 255
		default:
			alpha := src[3]
			p[0], p[1], p[2], p[3] = straight(src[0], alpha), straight(src[1], alpha), straight(src[2], alpha), alpha
		}
		dst = dst[4:]
	}
}

// straight divides a color by its alpha.
func straight(v, alpha byte) byte {
	if alpha == 0 {
		return 0
	}
	return uint8(min(255, (uint32(v)*255+uint32(alpha)/2)/uint32(alpha)))
}
