package scaledjpeg

import "math"

// At a smaller scale, a sample of the image is the mean of 8/side × 8/side samples of the full size. Along one
// axis, a(x) = cos((2x+1)uπ/16) is the factor of coefficient u in sample x (T.81, A.3.3), and the mean of
// neighbors is, by the sums of cosines,
//
//	two:  (a(2m) + a(2m+1)) / 2       = cos(uπ/16) · cos((2m+1)uπ/8)
//	four: (a(4m) + ... + a(4m+3)) / 4 = cos(uπ/16) · cos(uπ/8) · cos((2m+1)uπ/4)
//
// This is a transform of 4 or 2 samples with slightly reduced coefficients; the weights are part of the
// dequantization factors. Only the coefficients of that transform are used. libjpeg uses more of them, which
// changes the samples at hard edges.

// zigZag contains the position, row by row, of each coefficient (T.81, figure 5).
var zigZag = [64]byte{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// order assigns positions to the wanted coefficients.
type order struct {
	// place is the position of each coefficient in a block of side × side, or unwanted.
	place [64]uint8
	last  int // last wanted coefficient, in zig-zag order
}

const unwanted = 64

// coefficients are those of a block of up to 8×8, and one for the unwanted.
type coefficients [unwanted + 1]int32

func newOrder(side int) *order {
	o := new(order)
	for k, natural := range zigZag {
		u, v := int(natural&7), int(natural>>3)
		o.place[k] = unwanted
		if u < side && v < side {
			o.place[k] = uint8(v*side + u)
			o.last = k
		}
	}
	return o
}

// factors dequantize the wanted coefficients, in fixed point.
type factors [unwanted]int64

// fixed is the number of fractional bits; 0 at 1/8.
const fixed = 13

func newFactors(q *[64]uint16, side int) *factors {
	f := new(factors)
	if side == 1 {
		f[0] = int64(q[0])
		return f
	}
	for k, natural := range zigZag {
		u, v := int(natural&7), int(natural>>3)
		if u < side && v < side {
			f[v*side+u] = int64(math.Round(float64(q[k]) * weight(u, side) * weight(v, side) * (1 << fixed)))
		}
	}
	return f
}

func weight(u, side int) float64 {
	w := 1.0
	for n := 16.0; side < 8; side, n = 2*side, n/2 {
		w *= math.Cos(float64(u) * math.Pi / n)
	}
	return w
}

// mean returns the sample of a block at 1/8: its mean, which is 1/8 of coefficient 0, with halves rounded up.
func mean(dc, factor int32) byte { return level((dc*factor+4)>>3 + 128) }

func level(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31)) // 0 for negative values, 255 for values that are too large
	}
	return byte(v)
}

// transform sets side × side samples; side is 2, 4 or 8.
func transform(c *coefficients, f *factors, pix []byte, side, stride int) {
	switch side {
	case 2:
		transform2(c, f, pix, stride)
	case 4:
		transform4(c, f, pix, stride)
	default:
		transform8(c, f, pix, stride)
	}
}

// transform2 sets 2×2 samples.
func transform2(c *coefficients, f *factors, pix []byte, stride int) {
	const half = 1 << (fixed + 2)
	a, b := int64(c[0])*f[0]+half, int64(c[1])*f[1]
	e, g := int64(c[2])*f[2], int64(c[3])*f[3]
	top, bottom := pix[:2:2], pix[stride:][:2:2]
	top[0], top[1] = level64(a+b+e+g), level64(a-b+e-g)
	bottom[0], bottom[1] = level64(a+b-e-g), level64(a-b-e+g)
}

func level64(v int64) byte { return level(int32(v>>(fixed+3)) + 128) }

// The cosines of nπ/16, times √2, of transforms of 4 and of 8 samples.
const (
	cos1 = 11363 // 1.3870398 · 2^13
	cos2 = 10703 // 1.3065630 · 2^13
	cos3 = 9633  // 1.1758756 · 2^13
	cos5 = 6436  // 0.7856950 · 2^13
	cos6 = 4433  // 0.5411961 · 2^13
	cos7 = 2260  // 0.2758994 · 2^13
)

// transform4 sets 4×4 samples, first along the rows and then down.
func transform4(c *coefficients, f *factors, pix []byte, stride int) {
	var rows [16]int64
	for i := range 4 {
		in, by, row := c[4*i:4*i+4], f[4*i:4*i+4], rows[4*i:4*i+4]
		a, b := int64(in[0])*by[0], int64(in[1])*by[1]
		e, g := int64(in[2])*by[2], int64(in[3])*by[3]
		odd0, odd1 := (b*cos2+g*cos6)>>13, (b*cos6-g*cos2)>>13
		row[0], row[1] = a+e+odd0, a-e+odd1
		row[2], row[3] = a-e-odd1, a+e-odd0
	}
	const half = 1 << (fixed + 2)
	for i := range 4 {
		a, b, e, g := rows[i]+half, rows[4+i], rows[8+i], rows[12+i]
		odd0, odd1 := (b*cos2+g*cos6)>>13, (b*cos6-g*cos2)>>13
		pix[i] = level64(a + e + odd0)
		pix[stride+i] = level64(a - e + odd1)
		pix[2*stride+i] = level64(a - e - odd1)
		pix[3*stride+i] = level64(a + e - odd0)
	}
}

// transform8 sets 8×8 samples, first along the rows and then down.
func transform8(c *coefficients, f *factors, pix []byte, stride int) {
	var rows [64]int64
	for i := range 8 {
		in, by, row := c[8*i:8*i+8], f[8*i:8*i+8], rows[8*i:8*i+8]
		var v [8]int64
		for u := range v {
			v[u] = int64(in[u]) * by[u]
		}
		inverse8(&v)
		copy(row, v[:])
	}
	for i := range 8 {
		var v [8]int64
		for u := range v {
			v[u] = rows[8*u+i]
		}
		v[0] += 1 << (fixed + 2)
		inverse8(&v)
		for y := range v {
			pix[y*stride+i] = level64(v[y])
		}
	}
}

// inverse8 converts the coefficients of one axis to samples, times √8: the even coefficients are a transform of
// 4, and the odd ones change sign in the other half.
func inverse8(v *[8]int64) {
	even0, even1 := v[0]+v[4], v[0]-v[4]
	even2, even3 := (v[2]*cos2+v[6]*cos6)>>13, (v[2]*cos6-v[6]*cos2)>>13
	odd0 := (v[1]*cos1 + v[3]*cos3 + v[5]*cos5 + v[7]*cos7) >> 13
	odd1 := (v[1]*cos3 - v[3]*cos7 - v[5]*cos1 - v[7]*cos5) >> 13
	odd2 := (v[1]*cos5 - v[3]*cos1 + v[5]*cos7 + v[7]*cos3) >> 13
	odd3 := (v[1]*cos7 - v[3]*cos5 + v[5]*cos3 - v[7]*cos1) >> 13
	v[0], v[7] = even0+even2+odd0, even0+even2-odd0
	v[1], v[6] = even1+even3+odd1, even1+even3-odd1
	v[2], v[5] = even1-even3+odd2, even1-even3-odd2
	v[3], v[4] = even0-even2+odd3, even0-even2-odd3
}

// flat sets side × side samples to the mean.
func flat(v byte, pix []byte, side, stride int) {
	for y := range side {
		row := pix[y*stride:][:side]
		for x := range row {
			row[x] = v
		}
	}
}
