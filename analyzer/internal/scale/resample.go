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
	return kernelRadius * math.Sin(x) * math.Sin(x/kernelRadius) / (x * x)
}

// tap lists the samples that one sample of the result is computed from, starting at first, with their weights.
type tap struct {
	first   int
	weights []int32 // in 1/tapOne
}

const (
	tapBits = 14
	tapOne  = 1 << tapBits
)

// taps returns the taps for scaling from samples to to samples. Their weights add up to one, so that a uniform
// surface stays uniform. At the edges, the weights of samples beyond the edge are added to those of the
// existing ones.
func taps(from, to int) []tap {
	ratio := float64(from) / float64(to)
	stretch := max(1, ratio)
	out := make([]tap, to)
	for i := range out {
		center := (float64(i)+0.5)*ratio - 0.5
		first := max(0, int(math.Ceil(center-kernelRadius*stretch)))
		last := min(from-1, int(math.Floor(center+kernelRadius*stretch)))
		values := make([]float64, last-first+1)
		sum := 0.0
		for j := range values {
			values[j] = lanczos((float64(first+j) - center) / stretch)
			sum += values[j]
		}
		weights := make([]int32, len(values))
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
	n := s.channels
	out := make([]byte, width*height*n)
	row := make([]int32, s.width*n)
	across := taps(s.width, width)
	for y, t := range taps(s.height, height) {
		for x := range row {
			row[x] = 1 << (tapBits - between - 1)
		}
		for j, weight := range t.weights {
			samples := s.row(t.first + j)[:len(row)]
			for x, v := range samples {
				row[x] += weight * int32(v)
			}
		}
		for x := range row {
			row[x] >>= tapBits - between
		}
		dst := out[y*width*n:][:width*n]
		for x, t := range across {
			for c := range n {
				sum := int32(1 << (tapBits + between - 1))
				at := t.first*n + c
				for _, weight := range t.weights {
					sum += weight * row[at]
					at += n
				}
				dst[x*n+c] = uint8(max(0, min(255, sum>>(tapBits+between))))
			}
		}
	}
	return out
}
