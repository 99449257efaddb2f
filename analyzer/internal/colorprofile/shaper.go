package colorprofile

import "math"

// shaper converts RGB by three tone curves and a matrix. contributions[c][v] is the contribution of level v of
// channel c to the red, green and blue light of the result, in 1/256 of a step of the encoding table.
type shaper struct {
	contributions [3][256][3]int32
	encoding      []uint8
}

const shaperBits = 8

// newShaper returns the shaper for curves, which return linear light, and a matrix to linear sRGB.
func newShaper(curves [3]func(float64) float64, m *matrix, encoding []uint8) *shaper {
	s := &shaper{encoding: encoding}
	const limit = 1 << 28 // the sum of three fits
	for c, curve := range curves {
		for v := range 256 {
			light := curve(float64(v) / 255)
			for row := range 3 {
				x := math.Round(light * m[3*row+c] * (linearOne << shaperBits))
				s.contributions[c][v][row] = int32(max(-limit, min(x, limit)))
			}
		}
	}
	return s
}

func (s *shaper) convert(r, g, b uint8) (uint8, uint8, uint8) {
	x, y, z := &s.contributions[0][r], &s.contributions[1][g], &s.contributions[2][b]
	return s.level(x[0] + y[0] + z[0]), s.level(x[1] + y[1] + z[1]), s.level(x[2] + y[2] + z[2])
}

func (s *shaper) level(sum int32) uint8 {
	i := int(sum+1<<(shaperBits-1)) >> shaperBits
	return s.encoding[max(0, min(i, len(s.encoding)-1))]
}
