package visual

import (
	"image"
	"math"

	"github.com/lucasb-eyer/go-colorful"

	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The number of components of a BlurHash, across and down, and the long side of the copy that it is computed
// from. The hash contains no finer detail.
const (
	blurX, blurY = 4, 3
	blurSide     = 64
)

// blurHash sets the hash.
func blurHash(c *Copy, m *pipeline.Metadata) { m.BlurHash = blurHashOf(c.OnWhite) }

// blurHashOf encodes the image as a BlurHash (https://blurha.sh, algorithm as in github.com/woltapp/blurhash,
// Algorithm.md) of 4×3 components. It applies the cosines of the two axes one after the other.
func blurHashOf(m *image.RGBA) string {
	width, height := scale.Fit(m.Rect.Dx(), m.Rect.Dy(), blurSide)
	small := scale.Reduce(m, width, height, nil)
	cosX, cosY := cosines(blurX, width), cosines(blurY, height)
	var linear [256]float64
	for i := range linear {
		linear[i], _, _ = colorful.Color{R: float64(i) / 255}.LinearRgb()
	}

	var factors [blurY][blurX][3]float64
	for y := range height {
		var row [blurX][3]float64
		for x := range width {
			p := small.Pix[y*small.Stride+4*x:]
			for c := range 3 {
				v := linear[p[c]]
				for i := range blurX {
					row[i][c] += cosX[i][x] * v
				}
			}
		}
		for j := range blurY {
			for i := range blurX {
				for c := range 3 {
					factors[j][i][c] += cosY[j][y] * row[i][c]
				}
			}
		}
	}
	for j := range blurY {
		for i := range blurX {
			norm := 2.0
			if i == 0 && j == 0 {
				norm = 1
			}
			for c := range 3 {
				factors[j][i][c] *= norm / float64(width*height)
			}
		}
	}
	return blurText(&factors)
}

// cosines returns the values of the first n cosines at each of size positions.
func cosines(n, size int) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, size)
		for x := range out[i] {
			out[i][x] = math.Cos(math.Pi * float64(i) * float64(x) / float64(size))
		}
	}
	return out
}

// blurText writes the factors in the alphabet of BlurHash: the number of components, the largest AC factor, the
// mean color, the AC factors.
func blurText(factors *[blurY][blurX][3]float64) string {
	largest := 0.0
	for j := range factors {
		for i := range factors[j] {
			for c := range 3 {
				if i+j > 0 {
					largest = max(largest, math.Abs(factors[j][i][c]))
				}
			}
		}
	}
	step := int(max(0, min(82, math.Floor(largest*166-0.5))))
	scale := float64(step+1) / 166

	dc := factors[0][0]
	r, g, b := colorful.LinearRgb(dc[0], dc[1], dc[2]).Clamped().RGB255()
	out := base83(nil, (blurX-1)+(blurY-1)*9, 1)
	out = base83(out, step, 1)
	out = base83(out, int(r)<<16|int(g)<<8|int(b), 4)
	for j := range factors {
		for i, f := range factors[j] {
			if i+j > 0 {
				out = base83(out, (acStep(f[0]/scale)*19+acStep(f[1]/scale))*19+acStep(f[2]/scale), 2)
			}
		}
	}
	return string(out)
}

// acStep quantizes an AC factor: a signed square root in 19 steps.
func acStep(v float64) int {
	return int(max(0, min(18, math.Floor(math.Copysign(math.Sqrt(math.Abs(v)), v)*9+9.5))))
}

func base83(out []byte, v, digits int) []byte {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
	for d := digits - 1; d >= 0; d-- {
		rest := v
		for range d {
			rest /= 83
		}
		out = append(out, alphabet[rest%83])
	}
	return out
}
