package scaledjpeg

import "math"

// A sample of the scaled picture is the mean of 8/side × 8/side samples of the whole
// one. Along one axis, a(x) = cos((2x+1)uπ/16) is the factor of coefficient u in
// sample x (T.81, A.3.3), and the mean of neighbours is, by the sums of cosines,
//
//	two:  (a(2m) + a(2m+1)) / 2       = cos(uπ/16) · cos((2m+1)uπ/8)
//	four: (a(4m) + ... + a(4m+3)) / 4 = cos(uπ/16) · cos(uπ/8) · cos((2m+1)uπ/4)
//
// This is a transform of 4 or 2 samples whose coefficients are weakened a little;
// the weights are part of the factors that undo the quantisation. Only the
// coefficients of that transform are used. libjpeg uses more of them, which changes
// the samples at hard edges.

// zigZag has the place, row by row, of each coefficient (T.81, figure 5).
var zigZag = [64]byte{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// order tells where the wanted coefficients go.
type order struct {
	// place is where in a block of side × side each coefficient goes; those that
	// are not wanted have unwanted.
	place [64]uint8
	last  int // the last that is wanted, in zig-zag order
}

const unwanted = 16

// coefficients are those of a block of up to 4×4, and one for the unwanted.
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

// factors undo the quantisation of the wanted coefficients, in fixed point.
type factors [unwanted]int64

// fixed is how many bits are behind the point, at an eighth none.
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
	w := math.Cos(float64(u) * math.Pi / 16)
	if side == 2 {
		w *= math.Cos(float64(u) * math.Pi / 8)
	}
	return w
}

// mean is the sample of a block at an eighth: its mean, which is an eighth of
// coefficient 0, rounded up from the half.
func mean(dc, factor int32) byte { return level((dc*factor+4)>>3 + 128) }

func level(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31)) // 0 for the negative, 255 for what is too large
	}
	return byte(v)
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

// The cosines of a transform of 4 samples, times √2: cos(π/8) and cos(3π/8).
const (
	cos1 = 10703 // 1.3065630 · 2^13
	cos3 = 4433  // 0.5411961 · 2^13
)

// transform4 sets 4×4 samples, first along the rows and then down.
func transform4(c *coefficients, f *factors, pix []byte, stride int) {
	var rows [16]int64
	for i := range 4 {
		in, by, row := c[4*i:4*i+4], f[4*i:4*i+4], rows[4*i:4*i+4]
		a, b := int64(in[0])*by[0], int64(in[1])*by[1]
		e, g := int64(in[2])*by[2], int64(in[3])*by[3]
		odd0, odd1 := (b*cos1+g*cos3)>>13, (b*cos3-g*cos1)>>13
		row[0], row[1] = a+e+odd0, a-e+odd1
		row[2], row[3] = a-e-odd1, a+e-odd0
	}
	const half = 1 << (fixed + 2)
	for i := range 4 {
		a, b, e, g := rows[i]+half, rows[4+i], rows[8+i], rows[12+i]
		odd0, odd1 := (b*cos1+g*cos3)>>13, (b*cos3-g*cos1)>>13
		pix[i] = level64(a + e + odd0)
		pix[stride+i] = level64(a - e + odd1)
		pix[2*stride+i] = level64(a - e - odd1)
		pix[3*stride+i] = level64(a + e - odd0)
	}
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
