package colorprofile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var errShort = errors.New("data are missing")

// maxValue bounds the values of curves.
const maxValue = 1000

// curve is a one-dimensional function of a profile. Its argument is from 0 to 1.
type curve struct {
	points []byte // 16-bit or 8-bit values at equal distances, if it is a table
	wide   bool   // the points have 16 bits
	kind   uint16 // type of a parametric curve (ICC.1:2022, table 68)
	p      [7]float64
}

// at returns the value of the curve.
func (c *curve) at(x float64) float64 {
	if c.points != nil {
		return c.between(x)
	}
	g, a, b, cc, d, e, f := c.p[0], c.p[1], c.p[2], c.p[3], c.p[4], c.p[5], c.p[6]
	var y float64
	switch c.kind {
	case 0:
		y = math.Pow(x, g)
	case 1:
		if x >= -b/a {
			y = math.Pow(a*x+b, g)
		}
	case 2:
		y = cc
		if x >= -b/a {
			y += math.Pow(a*x+b, g)
		}
	default: // 3 and 4
		if x >= d {
			y = math.Pow(a*x+b, g) + e
		} else {
			y = cc*x + f
		}
	}
	// Values beyond 0 to 1 are legal between the stages of a table, and profiles use them.
	if !(math.Abs(y) <= maxValue) {
		return 0
	}
	return y
}

// between interpolates between the points.
func (c *curve) between(x float64) float64 {
	n := c.n()
	x *= float64(n - 1)
	i := max(0, min(int(x), n-2))
	low := c.point(i)
	return low + (c.point(i+1)-low)*(x-float64(i))
}

func (c *curve) n() int {
	if c.wide {
		return len(c.points) / 2
	}
	return len(c.points)
}

func (c *curve) point(i int) float64 {
	if c.wide {
		return float64(binary.BigEndian.Uint16(c.points[2*i:])) / math.MaxUint16
	}
	return float64(c.points[i]) / math.MaxUint8
}

// readCurve reads a curve of type curv or para from the start of data, and returns its length.
func readCurve(data []byte) (*curve, int, error) {
	if len(data) < 12 {
		return nil, 0, errShort
	}
	switch string(data[:4]) {
	case "curv":
		n := int64(binary.BigEndian.Uint32(data[8:]))
		if n > int64(len(data)-12)/2 {
			return nil, 0, errShort
		}
		end := 12 + 2*int(n)
		switch n {
		case 0:
			return &curve{p: [7]float64{1}}, end, nil
		case 1:
			return &curve{p: [7]float64{float64(binary.BigEndian.Uint16(data[12:])) / 256}}, end, nil
		}
		return &curve{points: data[12:end], wide: true}, end, nil
	case "para":
		c := &curve{kind: binary.BigEndian.Uint16(data[8:])}
		if c.kind > 4 {
			return nil, 0, fmt.Errorf("%w: parametric curve of type %d", ErrUnsupported, c.kind)
		}
		n := [...]int{1, 3, 4, 5, 7}[c.kind]
		if len(data) < 12+4*n {
			return nil, 0, errShort
		}
		for i := range n {
			c.p[i] = fixed(data[12+4*i:])
		}
		return c, 12 + 4*n, nil
	}
	return nil, 0, fmt.Errorf("a curve of type %q", data[:4])
}

// fixed reads an s15Fixed16Number.
func fixed(b []byte) float64 {
	return float64(int32(binary.BigEndian.Uint32(b))) / 65536
}

// sampled is a curve as a table, for values that are not levels. nil is the identity.
type sampled [4097]float32

func (c *curve) sample() *sampled {
	var s sampled
	same := true
	for i := range s {
		x := float64(i) / float64(len(s)-1)
		y := c.at(x)
		s[i] = float32(y)
		same = same && math.Abs(x-y) < 1./math.MaxUint16
	}
	if same {
		return nil
	}
	return &s
}

// at interpolates between the samples. x is clipped to 0 to 1, except by the identity.
func (s *sampled) at(x float32) float32 {
	if s == nil {
		return x
	}
	x = max(0, min(x, 1)) * float32(len(s)-1)
	i := min(int(x), len(s)-2)
	return s[i] + (s[i+1]-s[i])*(x-float32(i))
}
