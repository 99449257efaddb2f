package visual

// zigZag contains the position, row by row, of each coefficient (T.81, figure 5).
var zigZag = [64]byte{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// forward sets b to eight times the coefficients of 8×8 samples, by the transform of C. Loeffler, A. Ligtenberg and
// G. S. Moschytz (Practical Fast 1-D DCT Algorithms with 11 Multiplications, 1989), first down and then along the
// rows. Between the two, coefficients have 18 fractional bits.
func forward(b *[64]int32, pix []byte, stride int) {
	const fraction = 18
	_ = pix[7*stride+7]
	for i := range 8 {
		v0, v1, v2, v3, v4, v5, v6, v7 := forward8(
			int32(pix[i]), int32(pix[stride+i]), int32(pix[2*stride+i]), int32(pix[3*stride+i]),
			int32(pix[4*stride+i]), int32(pix[5*stride+i]), int32(pix[6*stride+i]), int32(pix[7*stride+i]), &down)
		b[i], b[8+i], b[16+i], b[24+i] = (v0-8*128)<<fraction, v1, v2, v3
		b[32+i], b[40+i], b[48+i], b[56+i] = v4<<fraction, v5, v6, v7
	}
	for i := 0; i < 64; i += 8 {
		v := b[i : i+8 : i+8]
		v0, v1, v2, v3, v4, v5, v6, v7 := forward8(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], &along)
		const half = 1 << (fraction - 1)
		v[0], v[1], v[2], v[3] = (v0+half)>>fraction, (v1+half)>>fraction, (v2+half)>>fraction, (v3+half)>>fraction
		v[4], v[5], v[6], v[7] = (v4+half)>>fraction, (v5+half)>>fraction, (v6+half)>>fraction, (v7+half)>>fraction
	}
}

// axis contains the factors for one of the axes, with as many fractional bits as 32 bits have room for.
type axis struct {
	drop, rootDrop uint // bits that samples lose before a multiplication, and before that by the root
	r1, r3, r6     rotation
	root           int32 // √2
}

var (
	down  = newAxis(0, 18, 12)
	along = newAxis(14, 14, 14)
)

func newAxis(drop, bits, rootBits uint) axis {
	// The cosines and sines of nπ/16, with 60 fractional bits; those of 6π/16 times √2.
	fixed := func(v uint64, bits uint) int32 { return int32((v + 1<<(59-bits)) >> (60 - bits)) }
	turn := func(cos, sin uint64) rotation {
		c, s := fixed(cos, bits), fixed(sin, bits)
		return rotation{c, s - c, s + c}
	}
	return axis{
		drop: drop, rootDrop: rootBits, root: fixed(1630477228166597777, rootBits),
		r1: turn(1130768441178740757, 224923827593068887),
		r3: turn(958619196450722178, 640528868967736374),
		r6: turn(623956622067911264, 1506364539328854985),
	}
}

// rotation contains the cosine of an angle, and its difference and sum with the sine.
type rotation struct{ cos, difference, sum int32 }

// turn rotates with three multiplications.
func (r *rotation) turn(x, y int32) (int32, int32) {
	both := r.cos * (x + y)
	return both + r.difference*y, both - r.sum*x
}

func forward8(x0, x1, x2, x3, x4, x5, x6, x7 int32, a *axis) (v0, v1, v2, v3, v4, v5, v6, v7 int32) {
	drop := a.drop & 31
	x0, x7 = x0+x7, x0-x7
	x1, x6 = x1+x6, x1-x6
	x2, x5 = x2+x5, x2-x5
	x3, x4 = x3+x4, x3-x4

	x4, x7 = a.r3.turn(x4>>drop, x7>>drop)
	x5, x6 = a.r1.turn(x5>>drop, x6>>drop)
	x0, x3 = x0+x3, x0-x3
	x1, x2 = x1+x2, x1-x2

	x2, x3 = a.r6.turn(x2>>drop, x3>>drop)
	x4, x6 = x4+x6, x4-x6
	x7, x5 = x7+x5, x7-x5

	rootDrop := a.rootDrop & 31
	return x0 + x1, x7 + x4, x2, x5 >> rootDrop * a.root, x0 - x1, x6 >> rootDrop * a.root, x3, x7 - x4
}
