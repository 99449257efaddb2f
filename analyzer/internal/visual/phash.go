package visual

import (
	"fmt"
	"math"
	"slices"

	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The luma is scaled to pHashSide × pHashSide. Of its cosine transform the lowest pHashBits × pHashBits
// frequencies are used, without the mean and the other coefficients of frequency 0.
const (
	pHashSide = 32
	pHashBits = 8
)

// pHash sets the hash.
func pHash(c *Copy, m *pipeline.Metadata) { m.PHash = pHashOf(c.light) }

// pHashOf returns a perceptual hash of 64 bits as 16 hex digits (C. Zauner, Implementation and Benchmarking of
// Perceptual Image Hash Functions, 2010, the DCT hash): one bit for each coefficient, row by row from the
// lowest vertical frequency, most significant bit first. A bit is 1 if the coefficient is over the median of
// the 64. Scaled or compressed copies of an image differ in a few bits; other images in about 32.
//
// The transform uses integers, so that the hash of a uniform surface is 0 and does not depend on the rounding
// of a processor.
func pHashOf(p plane) string {
	small := scale.Plane(p.pix, p.width, p.height, pHashSide, pHashSide)

	const unit = 1 << 14
	var basis [pHashBits][pHashSide]int64
	for k := range basis {
		for x := range basis[k] {
			basis[k][x] = int64(math.Round(unit * math.Cos(math.Pi*float64((2*x+1)*(k+1))/(2*pHashSide))))
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
	// Twice the median, which is between the two middle values.
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
