package colorprofile

import (
	"encoding/binary"
	"math"
	"slices"
)

// tag is an entry of a profile that a test builds.
type tag struct {
	name string
	data []byte
}

// build returns a profile of the tags. The space and the connection space are signatures, such as "RGB ".
func build(version byte, space, connection string, tags ...tag) []byte {
	be := binary.BigEndian
	p := make([]byte, 128)
	p[8] = version
	copy(p[12:], "scnr"+space+connection)
	if space == "CMYK" {
		copy(p[12:], "prtr")
	}
	be.PutUint16(p[24:], 2020)
	be.PutUint16(p[26:], 1)
	be.PutUint16(p[28:], 1)
	copy(p[36:], "acsp")
	copy(p[68:], fixeds(d50[:]...))
	text := append([]byte("desc\x00\x00\x00\x00\x00\x00\x00\x05test\x00"), make([]byte, 78)...)
	if version >= 4 {
		text = []byte("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS\x00\x00\x00\x02\x00\x00\x00\x1c\x00t")
	}
	tags = append([]tag{{"desc", text}, {"wtpt", xyzTag(d50[:]...)}}, tags...)
	p = be.AppendUint32(p, uint32(len(tags)))
	offset := len(p) + 12*len(tags)
	var body []byte
	for _, t := range tags {
		p = append(p, t.name...)
		p = be.AppendUint32(p, uint32(offset+len(body)))
		p = be.AppendUint32(p, uint32(len(t.data)))
		body = append(body, pad(t.data)...)
	}
	p = append(p, body...)
	be.PutUint32(p, uint32(len(p)))
	return p
}

func pad(b []byte) []byte { return append(slices.Clip(b), make([]byte, -len(b)&3)...) }

func fixeds(values ...float64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(math.Round(v*65536))))
	}
	return b
}

func levels16(values ...float64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, uint16(math.Round(v*65535)))
	}
	return b
}

func levels8(values ...float64) []byte {
	var b []byte
	for _, v := range values {
		b = append(b, uint8(math.Round(v*255)))
	}
	return b
}

func xyzTag(v ...float64) []byte { return append([]byte("XYZ \x00\x00\x00\x00"), fixeds(v...)...) }

func para(kind byte, p ...float64) []byte {
	return append([]byte{'p', 'a', 'r', 'a', 0, 0, 0, 0, 0, kind, 0, 0}, fixeds(p...)...)
}

func gammaCurve(gamma float64) []byte {
	return append([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), byte(gamma), byte(math.Round(gamma*256)))
}

// points returns n values of a function from 0 to 1.
func points(n int, f func(float64) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = f(float64(i) / float64(n-1))
	}
	return out
}

func tableCurve(n int, f func(float64) float64) []byte {
	b := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), uint32(n))
	return append(b, levels16(points(n, f)...)...)
}

// matrixTags returns the tags of a matrix profile of primaries.
func matrixTags(p primaries, curves ...[]byte) []tag {
	m, err := p.toSRGB()
	if err != nil {
		panic(err)
	}
	back, _ := fromD50.inverse()
	m = back.product(&m)
	var tags []tag
	for c, name := range []string{"r", "g", "b"} {
		tags = append(tags, tag{name + "XYZ", xyzTag(m[c], m[3+c], m[6+c])}, tag{name + "TRC", curves[c%len(curves)]})
	}
	return tags
}

// crossings returns the outputs of a grid.
func crossings(inputs, side int, f func([]float64) [3]float64) []float64 {
	var out []float64
	total := 1
	for range inputs {
		total *= side
	}
	at := make([]float64, inputs)
	for i := range total {
		for c, rest := inputs-1, i; c >= 0; c-- {
			at[c] = float64(rest%side) / float64(side-1)
			rest /= side
		}
		v := f(at)
		out = append(out, v[:]...)
	}
	return out
}

func identity(v float64) float64 { return v }

// mft returns a tag of type mft1 or mft2 whose inputs pass through a curve and whose outputs are Lab.
func mft(wide bool, inputs, side int, curve func(float64) float64, f func([]float64) [3]float64) []byte {
	b := []byte("mft1\x00\x00\x00\x00")
	b = append(b, byte(inputs), 3, byte(side), 0)
	b = append(b, fixeds(1, 0, 0, 0, 1, 0, 0, 0, 1)...)
	encode, scale := levels8, 1.
	nIn, nOut := 256, 256
	if wide {
		b[3], encode, scale = '2', levels16, 1/legacyScale
		nIn, nOut = 64, 2
		b = append(b, 0, byte(nIn), 0, byte(nOut))
	}
	for range inputs {
		b = append(b, encode(points(nIn, curve)...)...)
	}
	b = append(b, encode(crossings(inputs, side, func(in []float64) [3]float64 {
		v := encodeLab(f(in))
		return [3]float64{v[0] * scale, v[1] * scale, v[2] * scale}
	})...)...)
	for range 3 {
		b = append(b, encode(points(nOut, identity)...)...)
	}
	return b
}

// parts are the parts of an mAB tag. A part that is nil is left out.
type parts struct{ b, matrix, m, clut, a []byte }

func mAB(inputs byte, p parts) []byte {
	t := append([]byte("mAB \x00\x00\x00\x00"), inputs, 3, 0, 0)
	t = append(t, make([]byte, 20)...)
	for i, part := range [][]byte{p.b, p.matrix, p.m, p.clut, p.a} {
		if part != nil {
			binary.BigEndian.PutUint32(t[12+4*i:], uint32(len(t)))
			t = append(t, pad(part)...)
		}
	}
	return t
}

func clut16(inputs, side int, f func([]float64) [3]float64) []byte {
	b := make([]byte, 20)
	for i := range inputs {
		b[i] = byte(side)
	}
	b[16] = 2
	return append(b, levels16(crossings(inputs, side, f)...)...)
}

// curves returns curves one after the other, each at a multiple of four bytes.
func curves(list ...[]byte) []byte {
	var b []byte
	for _, c := range list {
		b = append(b, pad(c)...)
	}
	return b
}

func encodeLab(v [3]float64) [3]float64 {
	return [3]float64{v[0] / 100, (v[1] + 128) / 255, (v[2] + 128) / 255}
}

// labOf returns Lab, with the white D50, of linear sRGB.
func labOf(rgb [3]float64) [3]float64 {
	back, _ := fromD50.inverse()
	xyz := back.times(rgb)
	var f [3]float64
	for i, v := range xyz {
		v /= d50[i]
		f[i] = v/(3*(6./29)*(6./29)) + 4./29
		if v > 216./24389 {
			f[i] = math.Cbrt(v)
		}
	}
	return [3]float64{116*f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])}
}

// scanner is a device with colored filters: Lab of its samples, which have a gamma of 1.8.
func scanner(in []float64) [3]float64 {
	r, g, b := math.Pow(in[0], 1.8), math.Pow(in[1], 1.8), math.Pow(in[2], 1.8)
	return labOf([3]float64{.8*r + .15*g + .05*b, .1*r + .85*g + .05*b, .03*r + .12*g + .85*b})
}

// press is a printing press: Lab of inks that are not pure, with a dot gain and a black that is not quite black.
func press(in []float64) [3]float64 {
	light := [3]float64{1, 1, 1}
	inks := [4][3]float64{{.06, .35, .65}, {.55, .04, .18}, {.85, .7, .03}, {.025, .025, .03}}
	for i, ink := range inks {
		covered := math.Pow(in[i], .75)
		for c := range light {
			light[c] *= 1 - covered*(1-ink[c])
		}
	}
	return labOf(light)
}
