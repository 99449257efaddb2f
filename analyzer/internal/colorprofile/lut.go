package colorprofile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// lut converts RGB, gray or CMYK through a table of a profile: curves of the inputs, a grid of colors, then
// optional curves, a matrix and curves again, and the connection space.
type lut struct {
	inputs [4][256]float32 // for each level the position in the grid; without a grid, the value from 0 to 1
	grid   *grid           // nil if the profile has none
	middle *[3]*sampled    // M curves of mAB, or nil
	matrix *[12]float32    // 3×3 and an offset, or nil
	last   *[3]*sampled    // B curves of mAB, output tables of mft1 and mft2
	scale  [3]float32      // from the encoded connection space to Lab or XYZ
	offset [3]float32
	lab    bool
	toRGB  [9]float32 // to linear sRGB, from XYZ, or from XYZ in parts of the white if the space is Lab
	levels []uint8
}

// The encodings of the connection space (ICC.1:2022, 6.3.4): XYZ, Lab, and Lab of lut16Type.
const (
	xyzScale    = 1 + 32767./32768
	legacyScale = 65535. / 65280
)

// readLUT reads a tag of type mft1, mft2 or mAB for a number of channels.
func readLUT(tag []byte, channels int, lab bool) (*lut, error) {
	if len(tag) < 12 {
		return nil, errShort
	}
	l := &lut{lab: lab, levels: encoding()}
	m := fromD50
	if lab {
		l.scale, l.offset = [3]float32{100, 255, 255}, [3]float32{0, -128, -128}
		for i := range m {
			m[i] *= d50[i%3]
		}
	} else {
		l.scale = [3]float32{xyzScale, xyzScale, xyzScale}
	}
	for i, v := range m {
		l.toRGB[i] = float32(v)
	}
	if int(tag[8]) != channels || tag[9] != 3 {
		return nil, fmt.Errorf("a table from %d to %d channels", tag[8], tag[9])
	}
	switch kind := string(tag[:4]); kind {
	case "mft1":
		return l, l.readLegacy(tag, channels, false)
	case "mft2":
		if lab {
			l.scale = [3]float32{100 * legacyScale, 255 * legacyScale, 255 * legacyScale}
		}
		return l, l.readLegacy(tag, channels, true)
	case "mAB ":
		return l, l.readAToB(tag, channels)
	default:
		return nil, fmt.Errorf("%w: a table of type %q", ErrUnsupported, kind)
	}
}

// readLegacy reads lut8Type and lut16Type (ICC.1:2022, 10.10 and 10.11). Their matrix applies to XYZ as the
// input only, which device samples are not.
func (l *lut) readLegacy(tag []byte, channels int, wide bool) error {
	start, width, inputs, outputs := 48, 1, 256, 256
	if wide {
		start, width = 52, 2
	}
	if len(tag) < start {
		return errShort
	}
	if wide {
		inputs, outputs = int(binary.BigEndian.Uint16(tag[48:])), int(binary.BigEndian.Uint16(tag[50:]))
	}
	if inputs < 2 || outputs < 2 {
		return errors.New("a curve without points")
	}
	rest := tag[start:]
	take := func(n int) *curve {
		c := &curve{points: rest[:n*width], wide: wide}
		rest = rest[n*width:]
		return c
	}
	if len(rest) < channels*inputs*width {
		return errShort
	}
	curves := make([]*curve, channels)
	for i := range curves {
		curves[i] = take(inputs)
	}
	sides := [4]int{int(tag[10]), int(tag[10]), int(tag[10]), int(tag[10])}
	g, n, err := newGrid(rest, sides[:channels], wide)
	if err != nil {
		return err
	}
	rest = rest[n:]
	l.setGrid(g, curves)
	if len(rest) < 3*outputs*width {
		return errShort
	}
	l.last = &[3]*sampled{take(outputs).sample(), take(outputs).sample(), take(outputs).sample()}
	return nil
}

// setGrid sets the grid and the positions in it.
func (l *lut) setGrid(g *grid, curves []*curve) {
	l.grid = g
	for c, curve := range curves {
		for v := range l.inputs[c] {
			l.inputs[c][v] = float32(max(0, min(curve.at(float64(v)/255), 1)) * float64(g.sides[c]-1))
		}
	}
}

// readAToB reads lutAToBType (ICC.1:2022, 10.12).
func (l *lut) readAToB(tag []byte, channels int) error {
	if len(tag) < 32 {
		return errShort
	}
	part := func(i int) []byte { // nil if it is absent
		offset := binary.BigEndian.Uint32(tag[12+4*i:])
		if offset == 0 {
			return nil
		}
		return tag[min(int64(offset), int64(len(tag))):]
	}
	b, matrix, m, clut, a := part(0), part(1), part(2), part(3), part(4)
	if b == nil || (a == nil) != (clut == nil) || clut == nil && channels != 3 {
		return errors.New("a part of its table is missing")
	}
	var err error
	if clut != nil {
		err = l.readGrid(clut, a, channels)
	} else {
		for c := range 3 {
			for v := range l.inputs[c] {
				l.inputs[c][v] = float32(v) / 255
			}
		}
	}
	if err != nil {
		return err
	}
	if m != nil {
		if l.middle, err = readSampled(m); err != nil {
			return err
		}
	}
	if matrix != nil {
		if len(matrix) < 48 {
			return errShort
		}
		l.matrix = new([12]float32)
		for i := range l.matrix {
			l.matrix[i] = float32(fixed(matrix[4*i:]))
		}
	}
	l.last, err = readSampled(b)
	return err
}

// readGrid reads the grid of lutAToBType and the curves before it.
func (l *lut) readGrid(clut, a []byte, channels int) error {
	if len(clut) < 20 {
		return errShort
	}
	if clut[16] != 1 && clut[16] != 2 {
		return errors.New("a table with samples of an impossible size")
	}
	sides := make([]int, channels)
	for i := range sides {
		sides[i] = int(clut[i])
	}
	g, _, err := newGrid(clut[20:], sides, clut[16] == 2)
	if err != nil {
		return err
	}
	curves, err := readCurves(a, channels)
	if err != nil {
		return err
	}
	l.setGrid(g, curves)
	return nil
}

// readCurves reads curves that follow each other, each at a multiple of four bytes.
func readCurves(data []byte, n int) ([]*curve, error) {
	curves := make([]*curve, n)
	for i := range curves {
		c, size, err := readCurve(data)
		if err != nil {
			return nil, err
		}
		curves[i] = c
		data = data[min((size+3)&^3, len(data)):]
	}
	return curves, nil
}

func readSampled(data []byte) (*[3]*sampled, error) {
	curves, err := readCurves(data, 3)
	if err != nil {
		return nil, err
	}
	return &[3]*sampled{curves[0].sample(), curves[1].sample(), curves[2].sample()}, nil
}

// convert returns the sRGB levels of one pixel.
func (l *lut) convert(in [4]byte) (r, g, b uint8) {
	x, y, z := l.inputs[0][in[0]], l.inputs[1][in[1]], l.inputs[2][in[2]]
	if l.grid != nil {
		x, y, z = l.grid.at(x, y, z, l.inputs[3][in[3]])
	}
	if c := l.middle; c != nil {
		x, y, z = c[0].at(x), c[1].at(y), c[2].at(z)
	}
	if m := l.matrix; m != nil {
		x, y, z = m[0]*x+m[1]*y+m[2]*z+m[9], m[3]*x+m[4]*y+m[5]*z+m[10], m[6]*x+m[7]*y+m[8]*z+m[11]
	}
	x = l.last[0].at(x)*l.scale[0] + l.offset[0]
	y = l.last[1].at(y)*l.scale[1] + l.offset[1]
	z = l.last[2].at(z)*l.scale[2] + l.offset[2]
	if l.lab {
		f := (x + 16) / 116
		x, y, z = labInverse(f+y/500), labInverse(f), labInverse(f-z/200)
	}
	m := &l.toRGB
	return encode(l.levels, m[0]*x+m[1]*y+m[2]*z), encode(l.levels, m[3]*x+m[4]*y+m[5]*z), encode(l.levels, m[6]*x+m[7]*y+m[8]*z)
}

// labInverse is the inverse of the function f of CIELAB (CIE 15:2004).
func labInverse(t float32) float32 {
	if t > 6./29 {
		return t * t * t
	}
	return 3 * (6. / 29) * (6. / 29) * (t - 4./29)
}

// grid is a table of colors at the crossings of equally spaced levels of 1, 3 or 4 inputs.
type grid struct {
	data    []byte // the last input varies fastest; three outputs per crossing
	wide    bool   // outputs have 16 bits
	factor  float32
	sides   []int // crossings along each input
	strides []int // in outputs
}

// newGrid returns the grid at the start of data, and its length.
func newGrid(data []byte, sides []int, wide bool) (*grid, int, error) {
	g := &grid{wide: wide, factor: 1. / math.MaxUint8, sides: sides, strides: make([]int, len(sides))}
	size := 3
	for i := len(sides) - 1; i >= 0; i-- {
		if sides[i] < 2 {
			return nil, 0, errors.New("a table without colors")
		}
		g.strides[i] = size
		size *= sides[i]
		if size > len(data) {
			return nil, 0, errShort
		}
	}
	if wide {
		g.factor = 1. / math.MaxUint16
		size *= 2
	}
	if len(data) < size {
		return nil, 0, errShort
	}
	g.data = data[:size]
	return g, size, nil
}

// at returns the color at a position: between two crossings of a gray table, in a tetrahedron of an RGB table,
// and for CMYK between two tetrahedra, as Little CMS does. The other coordinates of gray and RGB have no effect.
func (g *grid) at(x, y, z, w float32) (a, b, c float32) {
	i, fraction := g.cell(0, x)
	var a2, b2, c2 float32
	switch len(g.sides) {
	case 1:
		a, b, c = g.color(i)
		a2, b2, c2 = g.color(i + g.strides[0])
	case 3:
		return g.tetrahedron(0, 0, x, y, z)
	default:
		a, b, c = g.tetrahedron(i, 1, y, z, w)
		if fraction == 0 {
			return a, b, c
		}
		a2, b2, c2 = g.tetrahedron(i+g.strides[0], 1, y, z, w)
	}
	return a + (a2-a)*fraction, b + (b2-b)*fraction, c + (c2-c)*fraction
}

// cell returns where the crossing before a position of one input starts, and the distance from it.
func (g *grid) cell(input int, position float32) (start int, fraction float32) {
	i := min(int(position), g.sides[input]-2)
	return i * g.strides[input], position - float32(i)
}

// tetrahedron interpolates in three inputs from first on, from base: along the input of the largest fraction
// first, so that the path runs along the edges of a tetrahedron (J. Kasson et al., 1995).
func (g *grid) tetrahedron(base, first int, x, y, z float32) (float32, float32, float32) {
	ix, fx := g.cell(first, x)
	iy, fy := g.cell(first+1, y)
	iz, fz := g.cell(first+2, z)
	sx, sy, sz := g.strides[first], g.strides[first+1], g.strides[first+2]
	if fx < fy {
		fx, fy, sx, sy = fy, fx, sy, sx
	}
	if fy < fz {
		fy, fz, sy, sz = fz, fy, sz, sy
	}
	if fx < fy {
		fx, fy, sx, sy = fy, fx, sy, sx
	}
	at := base + ix + iy + iz
	a0, b0, c0 := g.color(at)
	at += sx
	a1, b1, c1 := g.color(at)
	at += sy
	a2, b2, c2 := g.color(at)
	a3, b3, c3 := g.color(at + sz)
	w0, w1, w2 := 1-fx, fx-fy, fy-fz
	return a0*w0 + a1*w1 + a2*w2 + a3*fz, b0*w0 + b1*w1 + b2*w2 + b3*fz, c0*w0 + c1*w1 + c2*w2 + c3*fz
}

// color returns the outputs from 0 to 1 at an index.
func (g *grid) color(i int) (a, b, c float32) {
	if g.wide {
		p := g.data[2*i : 2*i+6 : 2*i+6]
		be := binary.BigEndian
		return float32(be.Uint16(p)) * g.factor, float32(be.Uint16(p[2:])) * g.factor, float32(be.Uint16(p[4:])) * g.factor
	}
	p := g.data[i : i+3 : i+3]
	return float32(p[0]) * g.factor, float32(p[1]) * g.factor, float32(p[2]) * g.factor
}
