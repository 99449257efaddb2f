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
		return nil, fmt.Errorf("color profile: a table from %d to %d channels", tag[8], tag[9])
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
		return errors.New("color profile: a curve without points")
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
			l.inputs[c][v] = float32(curve.at(float64(v)/255) * float64(g.sides[c]-1))
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
		return errors.New("color profile: a part of its table is missing")
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
		return errors.New("color profile: a table with samples of an impossible size")
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
	position := [4]float32{l.inputs[0][in[0]], l.inputs[1][in[1]], l.inputs[2][in[2]], l.inputs[3][in[3]]}
	v := [3]float32{position[0], position[1], position[2]}
	if l.grid != nil {
		v = l.grid.at(&position)
	}
	if l.middle != nil {
		v = [3]float32{l.middle[0].at(v[0]), l.middle[1].at(v[1]), l.middle[2].at(v[2])}
	}
	if m := l.matrix; m != nil {
		v = [3]float32{
			unit(m[0]*v[0] + m[1]*v[1] + m[2]*v[2] + m[9]),
			unit(m[3]*v[0] + m[4]*v[1] + m[5]*v[2] + m[10]),
			unit(m[6]*v[0] + m[7]*v[1] + m[8]*v[2] + m[11]),
		}
	}
	for i := range v {
		v[i] = l.last[i].at(v[i])*l.scale[i] + l.offset[i]
	}
	if l.lab {
		y := (v[0] + 16) / 116
		v = [3]float32{labInverse(y + v[1]/500), labInverse(y), labInverse(y - v[2]/200)}
	}
	m := &l.toRGB
	return encode(l.levels, m[0]*v[0]+m[1]*v[1]+m[2]*v[2]),
		encode(l.levels, m[3]*v[0]+m[4]*v[1]+m[5]*v[2]),
		encode(l.levels, m[6]*v[0]+m[7]*v[1]+m[8]*v[2])
}

func unit(v float32) float32 { return max(0, min(v, 1)) }

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
			return nil, 0, errors.New("color profile: a table without colors")
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
// and for CMYK between two tetrahedra, as Little CMS does.
func (g *grid) at(position *[4]float32) [3]float32 {
	switch len(g.sides) {
	case 1:
		i, fraction := g.cell(0, position[0])
		return mix(g.color(i), g.color(i+g.strides[0]), fraction)
	case 3:
		return g.tetrahedron(0, 0, [3]float32(position[:3]))
	default:
		i, fraction := g.cell(0, position[0])
		rest := [3]float32(position[1:])
		low := g.tetrahedron(i, 1, rest)
		if fraction == 0 {
			return low
		}
		return mix(low, g.tetrahedron(i+g.strides[0], 1, rest), fraction)
	}
}

// cell returns where the crossing before a position of one input starts, and the distance from it.
func (g *grid) cell(input int, position float32) (start int, fraction float32) {
	i := min(int(position), g.sides[input]-2)
	return i * g.strides[input], position - float32(i)
}

func mix(a, b [3]float32, fraction float32) [3]float32 {
	return [3]float32{a[0] + (b[0]-a[0])*fraction, a[1] + (b[1]-a[1])*fraction, a[2] + (b[2]-a[2])*fraction}
}

// tetrahedron interpolates in three inputs from first on, from base: along the input of the largest fraction
// first, so that the path runs along the edges of a tetrahedron (J. Kasson et al., 1995).
func (g *grid) tetrahedron(base, first int, position [3]float32) [3]float32 {
	x, fx := g.cell(first, position[0])
	y, fy := g.cell(first+1, position[1])
	z, fz := g.cell(first+2, position[2])
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
	at := base + x + y + z
	a, b, c, d := g.color(at), g.color(at+sx), g.color(at+sx+sy), g.color(at+sx+sy+sz)
	var out [3]float32
	for i := range out {
		out[i] = a[i]*(1-fx) + b[i]*(fx-fy) + c[i]*(fy-fz) + d[i]*fz
	}
	return out
}

// color returns the outputs from 0 to 1 at an index.
func (g *grid) color(i int) [3]float32 {
	if g.wide {
		b := g.data[2*i : 2*i+6 : 2*i+6]
		return [3]float32{
			float32(binary.BigEndian.Uint16(b)) * g.factor,
			float32(binary.BigEndian.Uint16(b[2:])) * g.factor,
			float32(binary.BigEndian.Uint16(b[4:])) * g.factor,
		}
	}
	b := g.data[i : i+3 : i+3]
	return [3]float32{float32(b[0]) * g.factor, float32(b[1]) * g.factor, float32(b[2]) * g.factor}
}
