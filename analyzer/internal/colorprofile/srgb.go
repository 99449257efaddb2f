package colorprofile

import (
	"math"
	"sync"
)

// matrix is a 3×3 matrix, row by row.
type matrix [9]float64

func (m *matrix) times(v [3]float64) [3]float64 {
	return [3]float64{
		m[0]*v[0] + m[1]*v[1] + m[2]*v[2],
		m[3]*v[0] + m[4]*v[1] + m[5]*v[2],
		m[6]*v[0] + m[7]*v[1] + m[8]*v[2],
	}
}

// product returns m·n.
func (m *matrix) product(n *matrix) (out matrix) {
	for c := range 3 {
		column := m.times([3]float64{n[c], n[3+c], n[6+c]})
		out[c], out[3+c], out[6+c] = column[0], column[1], column[2]
	}
	return out
}

// inverse returns the inverse of m, and false if it has none that is usable.
func (m *matrix) inverse() (out matrix, ok bool) {
	minor := func(a, b, c, d int) float64 { return m[a]*m[d] - m[b]*m[c] }
	out = matrix{
		minor(4, 5, 7, 8), -minor(1, 2, 7, 8), minor(1, 2, 4, 5),
		-minor(3, 5, 6, 8), minor(0, 2, 6, 8), -minor(0, 2, 3, 5),
		minor(3, 4, 6, 7), -minor(0, 1, 6, 7), minor(0, 1, 3, 4),
	}
	det := m[0]*out[0] + m[1]*out[3] + m[2]*out[6]
	if !(math.Abs(det) > 1e-9) {
		return matrix{}, false
	}
	for i := range out {
		out[i] /= det
	}
	return out, true
}

// d50 is the white of the profile connection space (ICC.1:2022, 7.2.16).
var d50 = [3]float64{0.9642, 1, 0.8249}

// fromD50 converts XYZ of the connection space to linear sRGB. It is the inverse of the matrix of the sRGB
// primaries, adapted from D65 to D50 by the linear Bradford transform (B. Lindbloom, RGB/XYZ Matrices).
var fromD50 = matrix{
	3.1338561, -1.6168667, -0.4906146,
	-0.9787684, 1.9161415, 0.0334540,
	0.0719453, -0.2289914, 1.4052427,
}

// fromD65 converts XYZ to linear sRGB (IEC 61966-2-1).
var fromD65 = matrix{
	3.2404542, -1.5371385, -0.4985314,
	-0.9692660, 1.8760108, 0.0415560,
	0.0556434, -0.2040259, 1.0572252,
}

// srgbEncode is the transfer function of sRGB from linear light, and srgbDecode its inverse, 0 to 1.
func srgbEncode(v float64) float64 {
	if v <= 0.0031308 {
		return 12.92 * v
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}

func srgbDecode(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// linearOne is the index of full light in an encoding table. A step is at most a fifth of a level.
const linearOne = 1 << 14

// encoding returns the table from linear light to sRGB levels.
var encoding = sync.OnceValue(func() []uint8 {
	return encodingTable(1, func(v float64) float64 { return v })
})

// highEncoding returns the table for light up to [peak]: the levels above half of the reference white share the
// rest of the range.
var highEncoding = sync.OnceValue(func() []uint8 {
	const knee = 0.5
	return encodingTable(peak, func(v float64) float64 {
		if v <= knee {
			return v
		}
		// The curve of E. Reinhard et al., Photographic Tone Reproduction for Digital Images, 2002, equation 4,
		// starts with a slope of 1 and reaches 1 at the peak.
		t, top := (v-knee)/(1-knee), (peak-knee)/(1-knee)
		return knee + (1-knee)*t*(1+t/(top*top))/(1+t)
	})
})

func encodingTable(limit float64, tone func(float64) float64) []uint8 {
	table := make([]uint8, int(limit*linearOne)+1)
	for i := range table {
		table[i] = uint8(255*srgbEncode(min(1, tone(float64(i)/linearOne))) + 0.5)
	}
	return table
}

// encode returns the sRGB level of linear light.
func encode(table []uint8, v float32) uint8 {
	i := int32(v*linearOne + 0.5) // v is bounded by the caller
	return table[max(0, min(int(i), len(table)-1))]
}
