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

// difference2000 is how different two colours look, CIEDE2000 (G. Sharma, W. Wu,
// E. N. Dalal, The CIEDE2000 Color-Difference Formula: Implementation Notes, 2005):
// about 1 is just noticeable.
func difference2000(p, q lab) float64 {
	meanC := (math.Hypot(p.a, p.b) + math.Hypot(q.a, q.b)) / 2
	g := 0.5 * (1 - math.Sqrt(saturating(meanC)))
	pa, qa := (1+g)*p.a, (1+g)*q.a
	pc, qc := math.Hypot(pa, p.b), math.Hypot(qa, q.b)
	ph, qh := hue(pa, p.b), hue(qa, q.b)

	deltaL, deltaC := q.l-p.l, qc-pc
	deltaHue, meanHue := qh-ph, (ph+qh)/2
	switch {
	case pc*qc == 0:
		deltaHue, meanHue = 0, ph+qh
	case math.Abs(qh-ph) <= 180:
	case qh > ph:
		deltaHue -= 360
		meanHue = math.Mod(meanHue+180, 360)
	default:
		deltaHue += 360
		meanHue = math.Mod(meanHue+180, 360)
	}
	deltaH := 2 * math.Sqrt(pc*qc) * math.Sin(radians(deltaHue/2))

	meanL := (p.l + q.l) / 2
	meanC = (pc + qc) / 2
	t := 1 - 0.17*math.Cos(radians(meanHue-30)) + 0.24*math.Cos(radians(2*meanHue)) +
		0.32*math.Cos(radians(3*meanHue+6)) - 0.20*math.Cos(radians(4*meanHue-63))
	sl := 1 + 0.015*(meanL-50)*(meanL-50)/math.Sqrt(20+(meanL-50)*(meanL-50))
	sc := 1 + 0.045*meanC
	sh := 1 + 0.015*meanC*t
	turn := (meanHue - 275) / 25
	rt := -math.Sin(radians(60*math.Exp(-turn*turn))) * 2 * math.Sqrt(saturating(meanC))
	l, c, h := deltaL/sl, deltaC/sc, deltaH/sh
	return math.Sqrt(max(0, l*l+c*c+h*h+rt*c*h))
}

// saturating is c⁷/(c⁷+25⁷).
func saturating(c float64) float64 {
	c7 := c * c * c * c * c * c * c
	return c7 / (c7 + 25*25*25*25*25*25*25)
}

// hue is an angle from 0 to 360 degrees.
func hue(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 0
	}
	h := math.Atan2(b, a) * 180 / math.Pi
	if h < 0 {
		h += 360
	}
	return h
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }
