package colorprofile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// maxTags bounds the entries of the tag table that are read. Profiles have about 20.
const maxTags = 200

// profile is an ICC profile whose header and tag table were read.
type profile struct {
	lab  bool // the connection space is Lab, not XYZ
	tags map[string][]byte
}

// Parse returns the transform from the samples of an ICC profile to sRGB. It returns an error that wraps
// [ErrUnsupported] for a profile that it cannot convert, and another error for a damaged one.
func Parse(data []byte) (*Transform, error) {
	p, space, err := readProfile(data)
	if err != nil {
		return nil, err
	}
	t := &Transform{space: space}
	if table, ok := p.a2b(); ok {
		err = t.setTable(table, p.lab)
	} else {
		switch space {
		case RGB:
			t.shaper, err = p.shaper()
		case Gray:
			t.gray, err = p.grayCurve()
		case CMYK:
			err = errors.New("its table is missing")
		}
	}
	if err != nil {
		return nil, err
	}
	return t.finish(), nil
}

// readProfile reads the header and the tag table.
func readProfile(data []byte) (*profile, Space, error) {
	const header, entry = 128, 12
	switch {
	case len(data) > MaxBytes:
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrUnsupported, len(data))
	case len(data) < header+4:
		return nil, 0, errShort
	case string(data[36:40]) != "acsp":
		return nil, 0, errors.New("its signature is missing")
	}
	switch class := string(data[12:16]); class {
	case "link", "abst", "nmcl":
		return nil, 0, fmt.Errorf("%w: class %q", ErrUnsupported, class)
	}
	var space Space
	switch string(data[16:20]) {
	case "RGB ":
		space = RGB
	case "GRAY":
		space = Gray
	case "CMYK":
		space = CMYK
	default:
		return nil, 0, fmt.Errorf("%w: samples %q", ErrUnsupported, data[16:20])
	}
	p := &profile{tags: map[string][]byte{}}
	switch string(data[20:24]) {
	case "Lab ":
		p.lab = true
	case "XYZ ":
	default:
		return nil, 0, fmt.Errorf("connection space %q", data[20:24])
	}
	be := binary.BigEndian
	table := data[header+4:]
	for range min(be.Uint32(data[header:]), maxTags) {
		if len(table) < entry {
			return nil, 0, errShort
		}
		offset, size := uint64(be.Uint32(table[4:])), uint64(be.Uint32(table[8:]))
		// A damaged tag is an error only if it is needed. Some writers pad the last tag beyond the end.
		if name := string(table[:4]); offset < uint64(len(data)) && p.tags[name] == nil {
			p.tags[name] = data[offset:min(offset+size, uint64(len(data)))]
		}
		table = table[entry:]
	}
	return p, space, nil
}

// a2b returns the table of the relative colorimetric intent, or else of the perceptual one.
func (p *profile) a2b() ([]byte, bool) {
	for _, name := range [...]string{"A2B1", "A2B0"} {
		if tag, ok := p.tags[name]; ok {
			return tag, true
		}
	}
	return nil, false
}

// setTable reads a table. For gray, it is evaluated for all levels.
func (t *Transform) setTable(tag []byte, lab bool) error {
	channels := map[Space]int{RGB: 3, Gray: 1, CMYK: 4}[t.space]
	table, err := readLUT(tag, channels, lab)
	if err != nil {
		return err
	}
	if t.space != Gray {
		t.table = table
		return nil
	}
	t.gray = new([256][3]uint8)
	for v := range t.gray {
		c := &t.gray[v]
		c[0], c[1], c[2] = table.convert([4]byte{byte(v)})
	}
	return nil
}

// shaper reads the curves and the matrix of an RGB profile (ICC.1:2022, annex F.3).
func (p *profile) shaper() (*shaper, error) {
	if p.lab {
		return nil, errors.New("a matrix to Lab")
	}
	var curves [3]func(float64) float64
	var m matrix
	for c, channel := range [...]string{"r", "g", "b"} {
		curve, _, err := readCurve(p.tags[channel+"TRC"])
		if err != nil {
			return nil, err
		}
		curves[c] = curve.at
		column := p.tags[channel+"XYZ"]
		if len(column) < 20 || string(column[:4]) != "XYZ " {
			return nil, errors.New("its matrix is missing")
		}
		for row := range 3 {
			m[3*row+c] = fixed(column[8+4*row:])
		}
	}
	// All colors of a matrix of zeros, for example, would be black.
	if white := m[3] + m[4] + m[5]; !(math.Abs(white-1) <= 0.5) {
		return nil, fmt.Errorf("white has a luminance of %.3g", white)
	}
	m = fromD50.product(&m)
	return newShaper(curves, &m, encoding()), nil
}

// grayCurve reads the curve of a gray profile (ICC.1:2022, annex F.2). With Lab, it is the curve of L*.
func (p *profile) grayCurve() (*[256][3]uint8, error) {
	curve, _, err := readCurve(p.tags["kTRC"])
	if err != nil {
		return nil, err
	}
	levels := new([256][3]uint8)
	for v := range levels {
		light := curve.at(float64(v) / 255)
		if p.lab {
			light = float64(labInverse(float32((100*light + 16) / 116)))
		}
		level := encode(encoding(), float32(light))
		levels[v] = [3]uint8{level, level, level}
	}
	return levels, nil
}
