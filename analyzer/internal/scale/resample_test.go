package scale

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

func grayNoise(width, height int) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(11, 12))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.IntN(256))
	}
	return m
}

// lanczosOf returns the sample x, y of an image of width × height, directly from the definition of the kernel,
// in floating point.
func lanczosOf(m *image.Gray, x, y, width, height int) float64 {
	along := func(i, from, to int) []float64 {
		ratio := float64(from) / float64(to)
		weights, sum := make([]float64, from), 0.0
		for j := range weights {
			d := (float64(j) + 0.5 - (float64(i)+0.5)*ratio) / max(1, ratio)
			switch {
			case math.Abs(d) < 1e-9:
				weights[j] = 1
			case math.Abs(d) < 3:
				weights[j] = math.Sin(math.Pi*d) / (math.Pi * d) * math.Sin(math.Pi*d/3) / (math.Pi * d / 3)
			}
			sum += weights[j]
		}
		for j := range weights {
			weights[j] /= sum
		}
		return weights
	}
	columns, rows := along(x, m.Rect.Dx(), width), along(y, m.Rect.Dy(), height)
	sum := 0.0
	for j, v := range rows {
		for i, h := range columns {
			sum += v * h * float64(m.Pix[j*m.Stride+i])
		}
	}
	return max(0, min(255, sum))
}

func TestReduceScaledMatchesLanczos(t *testing.T) {
	m := grayNoise(61, 47)
	for _, size := range [][2]int{{61, 47}, {60, 46}, {45, 33}, {31, 24}, {61, 24}, {7, 5}, {1, 1}, {62, 48}} {
		got := ReduceScaled(m, size[0], size[1], nil)
		for y := range size[1] {
			for x := range size[0] {
				want := lanczosOf(m, x, y, size[0], size[1])
				if g := got.NRGBAAt(x, y); math.Abs(float64(g.R)-want) > 1 || g.R != g.G || g.R != g.B || g.A != 255 {
					t.Fatalf("%v: pixel %d,%d is %v, want %.2f", size, x, y, g, want)
				}
			}
		}
	}
}

func TestReduceScaledKeepsUniformSurfaces(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {320, 1}, {500, 3}, {639, 480}, {320, 240}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			width, height := Fit(size[0], size[1], 320)
			got := ReduceScaled(fixture.Filled(size[0], size[1], color.NRGBA{10, 200, 30, 255}), width, height, nil)
			if want := bytes.Repeat([]byte{10, 200, 30, 255}, width*height); !bytes.Equal(got.Pix, want) {
				t.Error("a uniform surface does not stay uniform")
			}
		})
	}
}

func TestReduceScaledToTheSameSizeChangesNothing(t *testing.T) {
	m := fixture.Photo(60, 40)
	if got := ReduceScaled(m, 60, 40, nil); !bytes.Equal(got.Pix, m.Pix) {
		t.Error("the image changed")
	}
}
