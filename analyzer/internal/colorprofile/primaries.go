package colorprofile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// chromaticity is a point x, y of CIE 1931.
type chromaticity struct{ x, y float64 }

func (c chromaticity) xyz() [3]float64 {
	return [3]float64{c.x / c.y, 1, (1 - c.x - c.y) / c.y}
}

// primaries are the colors of red, green, blue and white.
type primaries [4]chromaticity

var (
	whiteD65 = chromaticity{0.3127, 0.3290}
	whiteC   = chromaticity{0.310, 0.316}

	bt709    = primaries{{0.64, 0.33}, {0.30, 0.60}, {0.15, 0.06}, whiteD65} // also sRGB
	adobeRGB = primaries{{0.64, 0.33}, {0.21, 0.71}, {0.15, 0.06}, whiteD65}
)

// codePoints are the primaries of ITU-T H.273, table 2.
var codePoints = map[byte]primaries{
	1:  bt709,
	4:  {{0.67, 0.33}, {0.21, 0.71}, {0.14, 0.08}, whiteC},               // BT.470 M
	5:  {{0.64, 0.33}, {0.29, 0.60}, {0.15, 0.06}, whiteD65},             // BT.601, 625 lines
	6:  {{0.630, 0.340}, {0.310, 0.595}, {0.155, 0.070}, whiteD65},       // BT.601, 525 lines
	7:  {{0.630, 0.340}, {0.310, 0.595}, {0.155, 0.070}, whiteD65},       // SMPTE 240M
	8:  {{0.681, 0.319}, {0.243, 0.692}, {0.145, 0.049}, whiteC},         // film
	9:  {{0.708, 0.292}, {0.170, 0.797}, {0.131, 0.046}, whiteD65},       // BT.2020 and BT.2100
	11: {{0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}, {0.314, 0.351}}, // DCI-P3
	12: {{0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}, whiteD65},       // Display P3
	22: {{0.630, 0.340}, {0.295, 0.605}, {0.155, 0.077}, whiteD65},       // EBU 3213
}

// bradford converts XYZ to the responses in which white points are scaled (ICC.1:2022, annex E).
var bradford = matrix{
	0.8951, 0.2664, -0.1614,
	-0.7502, 1.7135, 0.0367,
	0.0389, -0.0685, 1.0296,
}

var errPrimaries = errors.New("its primaries span no colors")

// toSRGB returns the matrix from linear light in the primaries to linear sRGB.
func (p *primaries) toSRGB() (matrix, error) {
	for _, c := range p {
		if !(c.y > 0.00005) {
			return matrix{}, errPrimaries
		}
	}
	var m matrix
	for c, primary := range p[:3] {
		for row, v := range primary.xyz() {
			m[3*row+c] = v
		}
	}
	inverse, ok := m.inverse()
	if !ok {
		return matrix{}, errPrimaries
	}
	// The primaries add up to white, which must lie between them.
	white := p[3].xyz()
	shares := inverse.times(white)
	if !(min(shares[0], shares[1], shares[2]) > 0.000001) {
		return matrix{}, errPrimaries
	}
	for i := range m {
		m[i] *= shares[i%3]
	}
	from, to := bradford.times(white), bradford.times(whiteD65.xyz())
	var scale matrix
	for i := range 3 {
		if !(from[i] > 0.001) {
			return matrix{}, errPrimaries
		}
		scale[4*i] = to[i] / from[i]
	}
	back, _ := bradford.inverse()
	adapt := scale.product(&bradford)
	adapt = back.product(&adapt)
	m = adapt.product(&m)
	m = fromD65.product(&m)
	for _, v := range m {
		if !(math.Abs(v) <= 16) {
			return matrix{}, errPrimaries
		}
	}
	return m, nil
}

// transfer is a function from a level, 0 to 1, to linear light, of which 1 is white.
type transfer func(float64) float64

func power(gamma float64) transfer {
	return func(v float64) float64 { return math.Pow(v, gamma) }
}

// camera is the inverse of the transfer function of BT.709, BT.601 and BT.2020.
func camera(v float64) float64 {
	if v < 4.5*0.018 {
		return v / 4.5
	}
	return math.Pow((v+0.099)/1.099, 1/0.45)
}

// The light of PQ and HLG, in cd/m²: that of reference white, and the maximum that is not clipped.
const (
	referenceWhite = 203
	mostLight      = 1000
	peak           = mostLight / float64(referenceWhite)
)

// pq is the transfer function of SMPTE ST 2084 to light in parts of the reference white.
func pq(v float64) float64 {
	const m1, m2 = 2610. / 16384, 2523. / 4096 * 128
	const c1, c2, c3 = 3424. / 4096, 2413. / 4096 * 32, 2392. / 4096 * 32
	e := math.Pow(v, 1/m2)
	return min(peak, math.Pow(max(0, e-c1)/(c2-c3*e), 1/m1)*10_000/referenceWhite)
}

// hlg is the transfer function of ARIB STD-B67 and the system gamma of a display of 1,000 cd/m² (ITU-R
// BT.2100), to light in parts of the reference white.
func hlg(v float64) float64 {
	const a, b, c = 0.17883277, 0.28466892, 0.55991073
	scene := v * v / 3
	if v > 0.5 {
		scene = (math.Exp((v-c)/a) + b) / 12
	}
	return peak * math.Pow(scene, 1.2)
}

// transfers are the transfer characteristics of ITU-T H.273, table 3.
var transfers = map[byte]transfer{
	1: camera, 6: camera, 14: camera, 15: camera,
	4: power(2.2), 5: power(2.8), 8: power(1), 13: srgbDecode, 16: pq, 18: hlg,
	17: func(v float64) float64 { return math.Pow(v, 2.6) * 52.37 / 48 }, // SMPTE ST 428-1
}

// fromPrimaries returns the transform for primaries with one transfer function.
func fromPrimaries(p *primaries, decode transfer, levels []uint8) (*Transform, error) {
	m, err := p.toSRGB()
	if err != nil {
		return nil, err
	}
	t := &Transform{space: RGB, shaper: newShaper([3]func(float64) float64{decode, decode, decode}, &m, levels)}
	return t.finish(), nil
}

// AdobeRGB returns the transform for Adobe RGB (1998), which the index R03 of EXIF's interoperability directory
// names (DCF 2.0, 3.2).
func AdobeRGB() (*Transform, error) {
	return fromPrimaries(&adobeRGB, power(563./256), encoding())
}

// CICP returns the transform for the payload of a PNG chunk cICP: primaries, transfer function, matrix and range
// of ITU-T H.273.
func CICP(chunk []byte) (*Transform, error) {
	if len(chunk) != 4 {
		return nil, errors.New("cICP: wrong length")
	}
	p, known := codePoints[chunk[0]]
	decode, knownToo := transfers[chunk[1]]
	if !known || !knownToo || chunk[2] != 0 || chunk[3] > 1 {
		return nil, fmt.Errorf("%w: cICP %d/%d/%d/%d", ErrUnsupported, chunk[0], chunk[1], chunk[2], chunk[3])
	}
	levels := encoding()
	if chunk[1] == 16 || chunk[1] == 18 {
		levels = highEncoding()
	}
	if chunk[3] == 0 { // the narrow range of video
		full := decode
		decode = func(v float64) float64 { return full(max(0, min((255*v-16)/219, 1))) }
	}
	return fromPrimaries(&p, decode, levels)
}

// GammaAndPrimaries returns the transform for the payloads of the PNG chunks gAMA and cHRM. A chunk that is nil
// stands for the values of sRGB. Like libpng, it takes a gamma within 5% of 1/2.2 for the transfer function of
// sRGB, which is what writers mean.
func GammaAndPrimaries(gama, chrm []byte) (*Transform, error) {
	decode, p := transfer(srgbDecode), bt709
	if gama != nil {
		if len(gama) != 4 {
			return nil, errors.New("gAMA: wrong length")
		}
		gamma := float64(binary.BigEndian.Uint32(gama)) / 100_000
		if !(gamma >= 0.1 && gamma <= 10) {
			return nil, fmt.Errorf("gAMA: %g is impossible", gamma)
		}
		if math.Abs(gamma*2.2-1) > 0.05 {
			decode = power(1 / gamma)
		}
	}
	if chrm != nil {
		if len(chrm) != 32 {
			return nil, errors.New("cHRM: wrong length")
		}
		// White comes first.
		for i := range p {
			at := chrm[8*((i+1)%4):]
			p[i] = chromaticity{
				float64(binary.BigEndian.Uint32(at)) / 100_000, float64(binary.BigEndian.Uint32(at[4:])) / 100_000,
			}
			if p[i].x > 1 || p[i].y > 1 {
				return nil, errPrimaries
			}
		}
	}
	return fromPrimaries(&p, decode, encoding())
}
