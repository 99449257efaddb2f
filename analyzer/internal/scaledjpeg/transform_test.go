package scaledjpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestTransformsAreTheMeansOfTheInverse computes the samples from the definition of the inverse transform
// (T.81, A.3.3) of the coefficients that are used, and averages them.
func TestTransformsAreTheMeansOfTheInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, side := range [...]int{1, 2, 4, 8} {
		for range 200 {
			var c coefficients
			var q [64]uint16
			for k := range q {
				q[k] = uint16(1 + r.IntN(60))
			}
			for i := range side * side {
				c[i] = int32(r.IntN(13) - 6)
			}
			o := newOrder(side)
			pix := make([]byte, 64)
			switch f := newFactors(&q, side); side {
			case 1:
				pix[0] = mean(c[0], int32(f[0]))
			default:
				transform(&c, f, pix, side, side)
			}
			for y := range side {
				for x := range side {
					want := inverseMean(&c, &q, o, side, x, y)
					if got := float64(pix[y*side+x]); math.Abs(got-want) > 0.53 { // the cosines have 13 bits
						t.Fatalf("sample %d,%d of %d×%d is %v, want %.2f", x, y, side, side, got, want)
					}
				}
			}
		}
	}
}

func inverseMean(c *coefficients, q *[64]uint16, o *order, side, x, y int) float64 {
	sum, scale := 0.0, 8/side
	for i := range scale * scale {
		sx, sy := float64(x*scale+i%scale), float64(y*scale+i/scale)
		for k, place := range o.place {
			if place == unwanted {
				continue
			}
			u, v := float64(zigZag[k]%8), float64(zigZag[k]/8)
			factor := 0.25
			if u == 0 {
				factor /= math.Sqrt2
			}
			if v == 0 {
				factor /= math.Sqrt2
			}
			sum += factor * float64(c[place]) * float64(q[k]) *
				math.Cos((2*sx+1)*u*math.Pi/16) * math.Cos((2*sy+1)*v*math.Pi/16)
		}
	}
	return max(0, min(255, sum/float64(scale*scale)+128))
}
