package describe

import "math"

// lab is a colour in CIELAB (CIE 15:2004) of the white point D65.
type lab struct{ l, a, b float64 }

// labOf converts samples of sRGB (IEC 61966-2-1), 0 to 255 each.
func labOf(r, g, b int) lab {
	lr, lg, lb := linear(r), linear(g), linear(b)
	x := (0.4124564*lr + 0.3575761*lg + 0.1804375*lb) / 0.95047
	y := 0.2126729*lr + 0.7151522*lg + 0.0721750*lb
	z := (0.0193339*lr + 0.1191920*lg + 0.9503041*lb) / 1.08883
	fx, fy, fz := labCurve(x), labCurve(y), labCurve(z)
	return lab{116*fy - 16, 500 * (fx - fy), 200 * (fy - fz)}
}

func labCurve(t float64) float64 {
	const delta = 6.0 / 29
	if t > delta*delta*delta {
		return math.Cbrt(t)
	}
	return t/(3*delta*delta) + 4.0/29
}

// linear turns a sample of sRGB into linear light.
func linear(sample int) float64 {
	v := float64(sample) / 255
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// apart is the square of how far two colours are from each other, ΔE*ab of 1976.
func (c lab) apart(o lab) float64 {
	return (c.l-o.l)*(c.l-o.l) + (c.a-o.a)*(c.a-o.a) + (c.b-o.b)*(c.b-o.b)
}
