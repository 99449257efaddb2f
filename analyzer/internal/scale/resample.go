package scale

import "math"

// A scaled decoding is less than twice as long as the working copy. Averaging so few samples, which are means
// themselves, would blur the image again: its sharpness would be a third to a half less than that of a copy of
// the full size. Resampling with a kernel that keeps fine detail gives about the same sharpness.

// kernelRadius is the radius of the Lanczos kernel (C. E. Duchon, Lanczos Filtering in One and Two Dimensions,
// 1979), in samples of the larger distance.
const kernelRadius = 3

func lanczos(x float64) float64 {
	if x == 0 {
		return 1
	}
	if x <= -kernelRadius || x >= kernelRadius {
		return 0
	}
	x *= math.Pi
	sin := math.Sin(x / kernelRadius)
	return kernelRadius * (3 - 4*sin*sin) * sin * sin / (x * x) // sin 3x = (3 - 4 sin² x) sin x
}

// tap lists the samples that one sample of the result is computed from, starting at first, with their weights.
// Weights of 0 are added at the end, up to a multiple of tapStep, also for samples that do not exist.
type tap struct {
	first   int
	weights []int32 // in 1/tapOne
}

const (
	tapBits = 14
	tapOne  = 1 << tapBits
	tapStep = 4
)

// taps returns the taps for scaling from samples to to samples, all with the same number of weights. Their weights
// add up to one, so that a uniform surface stays uniform. At the edges, the weights of samples beyond the edge are
// added to those of the existing ones.
func taps(from, to int) []tap {
	ratio := float64(from) / float64(to)
	stretch := max(1, ratio)
	most := min(from, int(2*kernelRadius*stretch)+1)
	most = (most + tapStep - 1) / tapStep * tapStep
	out, all := make([]tap, to), make([]int32, to*most)
	buf := make([]float64, most)
	for i := range out {
		center := (float64(i)+0.5)*ratio - 0.5
		first := max(0, int(math.Ceil(center-kernelRadius*stretch)))
		last := min(from-1, int(math.Floor(center+kernelRadius*stretch)))
		values := buf[:last-first+1]
		sum := 0.0
		for j := range values {
			values[j] = lanczos((float64(first+j) - center) / stretch)
			sum += values[j]
		}
		weights := all[i*most:][:most]
		rest, largest := int32(tapOne), 0
		for j, v := range values {
			weights[j] = int32(math.Round(v / sum * tapOne))
			rest -= weights[j]
			if weights[j] > weights[largest] {
				largest = j
			}
		}
		weights[largest] += rest
		out[i] = tap{first, weights}
	}
	return out
}

// between is the number of bits of the weights that are kept between the two directions.
const between = 6

// resample returns width × height pixels of a source that has all its samples.
func (s source) resample(width, height int) []byte {
	if s.channels == 1 {
		return s.resamplePlane(width, height)
	}
	out := make([]byte, width*height*s.channels)
	for c := range s.channels {
		plane := make([]byte, s.width)
		channel := source{width: s.width, height: s.height, channels: 1, row: func(y int) []byte {
			row := s.row(y)
			for x := range plane {
				plane[x] = row[x*s.channels+c]
			}
			return plane
		}}
		for i, v := range channel.resamplePlane(width, height) {
			out[i*s.channels+c] = v
		}
	}
	return out
}

// resamplePlane resamples a source of one channel.
//
// It computes two sums at once, in words that contain one number and 1<<32 times another. Such words are added and
// multiplied by a weight like numbers, also negative ones, as long as each sum fits into 32 bits. The two sums are
// those of neighbors in a row first, and then those of two rows.
func (s source) resamplePlane(width, height int) []byte {
	out := make([]byte, width*height)
	across, down := taps(s.width, width), taps(s.height, height)
	w := newWindow(s, len(down[0].weights))
	words := len(w.lines[0])
	upper, lower := make([]uint64, words), make([]uint64, words)
	pairs := make([]uint64, 2*words+len(across[0].weights))
	for y := 0; y < height; y += 2 {
		below := min(y+1, height-1)
		w.sum(upper, down[y])
		w.sum(lower, down[below])
		for i := range words {
			const drop = tapBits - between
			a, b := apart(upper[i])
			c, d := apart(lower[i])
			pairs[2*i], pairs[2*i+1] = uint64(a>>drop+c>>drop<<32), uint64(b>>drop+d>>drop<<32)
		}
		first, second := out[y*width:][:width], out[below*width:][:width]
		for x, t := range across {
			const drop = tapBits + between
			a, b := apart(t.sum(pairs) + ones<<(drop-1))
			first[x], second[x] = level(a>>drop), level(b>>drop)
		}
	}
	return out
}

// ones is a word of two numbers 1.
const ones = 1<<32 + 1

// apart returns the two numbers in a word.
func apart(word uint64) (a, b int64) {
	a = int64(int32(word))
	return a, (int64(word) - a) >> 32
}

// level returns the nearest value of a sample.
func level(v int64) byte {
	if uint64(v) > 255 {
		return byte(^(v >> 63)) // 0 for negative values, 255 for values that are too large
	}
	return byte(v)
}

// sum returns the weighted sum of words.
func (t tap) sum(words []uint64) (sum uint64) {
	words = words[t.first:][:len(t.weights)]
	for i := 0; i <= len(words)-tapStep; i += tapStep {
		weights, w := t.weights[i:i+tapStep:i+tapStep], words[i:i+tapStep:i+tapStep]
		sum += uint64(weights[0])*w[0] + uint64(weights[1])*w[1] + uint64(weights[2])*w[2] + uint64(weights[3])*w[3]
	}
	return sum
}

// window holds as many rows of a source as one row of the result needs.
type window struct {
	source source
	lines  [][]uint64 // the rows, two samples in a word, each at its number modulo the number of lines
	next   int        // first row that has not been read yet
}

func newWindow(s source, lines int) *window {
	w := &window{source: s, lines: make([][]uint64, lines)}
	for i := range w.lines {
		w.lines[i] = make([]uint64, (s.width+1)/2)
	}
	return w
}

// line returns a row, or any other instead of one that does not exist.
func (w *window) line(y int) []uint64 { return w.lines[y%len(w.lines)] }

// sum sets sums to those of columns, half of a unit more for rounding. It takes the taps from top to bottom.
func (w *window) sum(sums []uint64, t tap) {
	for end := min(t.first+len(t.weights), w.source.height); w.next < end; w.next++ {
		line, row := w.line(w.next), w.source.row(w.next)[:w.source.width]
		for i := range len(row) / 2 {
			line[i] = uint64(row[2*i]) | uint64(row[2*i+1])<<32
		}
		if len(row)%2 == 1 {
			line[len(row)/2] = uint64(row[len(row)-1])
		}
	}
	for i := range sums {
		sums[i] = ones << (tapBits - between - 1)
	}
	for j := 0; j < len(t.weights); j += tapStep {
		y, n := t.first+j, len(sums)
		a, b, c, d := w.line(y)[:n], w.line(y + 1)[:n], w.line(y + 2)[:n], w.line(y + 3)[:n]
		weights := t.weights[j : j+tapStep : j+tapStep]
		byA, byB, byC, byD := uint64(weights[0]), uint64(weights[1]), uint64(weights[2]), uint64(weights[3])
		for i := range sums {
			sums[i] += byA*a[i] + byB*b[i] + byC*c[i] + byD*d[i]
		}
	}
}
