package describe

import (
	"fmt"
	"math"
	"slices"
)

// The luma is squeezed to pHashSide × pHashSide, of whose cosine transform the
// lowest pHashBits × pHashBits frequencies count, without the mean and the other
// coefficients of frequency 0.
const (
	pHashSide = 32
	pHashBits = 8
)

// pHash is a perceptual hash of 64 bits as 16 hex digits (C. Zauner,
// Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, the
// DCT hash): a bit for each of the coefficients, row by row from the lowest
// vertical frequency, the first the most significant; it is 1 when the
// coefficient is over the median of the 64. Copies of a picture that were scaled
// or compressed differ in a few bits; other pictures in about 32.
//
// The transform is done in whole numbers, so that the hash of an even surface is 0
// and does not hang on the rounding of a processor.
func pHash(p plane) string {
	small := p.squeezed(pHashSide, pHashSide)

	const scale = 1 << 14
	var basis [pHashBits][pHashSide]int64
	for k := range basis {
		for x := range basis[k] {
			basis[k][x] = int64(math.Round(scale * math.Cos(math.Pi*float64((2*x+1)*(k+1))/(2*pHashSide))))
		}
	}
	coefficients := make([]int64, 0, pHashBits*pHashBits)
	for k := range basis {
		var columns [pHashSide]int64
		for y := range pHashSide {
			for x := range columns {
				columns[x] += basis[k][y] * int64(small[y*pHashSide+x])
			}
		}
		for l := range basis {
			sum := int64(0)
			for x := range columns {
				sum += basis[l][x] * columns[x]
			}
			coefficients = append(coefficients, sum)
		}
	}
	sorted := slices.Sorted(slices.Values(coefficients))
	// Twice the median, which lies between the middle two.
	median2 := sorted[len(sorted)/2-1] + sorted[len(sorted)/2]
	hash := uint64(0)
	for _, c := range coefficients {
		hash <<= 1
		if 2*c > median2 {
			hash |= 1
		}
	}
	return fmt.Sprintf("%016x", hash)
}
