package visual

import "github.com/lucasb-eyer/go-colorful"

// lab is a color in CIELAB (CIE 15:2004) with the white point D65.
type lab struct{ l, a, b float64 }

// labOf converts sRGB samples (IEC 61966-2-1), 0 to 255 each. The matrix differs from go-colorful's, whose
// additional digits would change existing records.
func labOf(r, g, b int) lab {
	lr, lg, lb := colorful.Color{R: float64(r) / 255, G: float64(g) / 255, B: float64(b) / 255}.LinearRgb()
	l, x, y := colorful.XyzToLab(
		0.4124564*lr+0.3575761*lg+0.1804375*lb,
		0.2126729*lr+0.7151522*lg+0.0721750*lb,
		0.0193339*lr+0.1191920*lg+0.9503041*lb)
	return lab{100 * l, 100 * x, 100 * y}
}

// apart returns the square of the distance of two colors, ΔE*ab of 1976.
func (c lab) apart(o lab) float64 {
	return (c.l-o.l)*(c.l-o.l) + (c.a-o.a)*(c.a-o.a) + (c.b-o.b)*(c.b-o.b)
}
