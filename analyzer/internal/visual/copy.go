package visual

import (
	"image"
	"math"
)

// Copy is the small, upright copy of an image that everything about its content is measured on. All color and
// light statistics are derived from one pass over it, so that their cost is one pass.
type Copy struct {
	Image   *image.NRGBA
	OnWhite *image.RGBA // Image on white; without transparency, both have the same pixels
	Comment string      // comment that a camera or phone wrote into the file

	light       plane
	levels      [256]uint32 // number of pixels of each luma
	stored      [256]uint32 // the same before the conversion to sRGB
	transparent bool        // some pixel is not opaque

	// The fields below count pixels that are at least half opaque, without a background.

	seen     int64
	chromas  [256]uint32 // number of pixels for each difference of the largest and the smallest sample
	greatest int64       // sum of the largest samples
	redGreen moments     // red − green
	yellow   moments     // red + green − 2 blue: twice the yellow of Hasler and Süsstrunk
	cells    []cell      // pixels by the upper four bits of their samples
}

// Levels returns the number of pixels of each luma, with white under transparent pixels.
func Levels(img *image.NRGBA) [256]uint32 {
	var levels [256]uint32
	flat := onWhite(img)
	for i := 0; i+4 <= len(flat.Pix); i += 4 {
		levels[lumaOf(flat.Pix[i], flat.Pix[i+1], flat.Pix[i+2])]++
	}
	return levels
}

// cell holds the number of pixels in a part of the color cube, and the sums of their samples. The sums of
// 320×320 pixels of 255 fit easily.
type cell struct{ n, r, g, b uint32 }

// moments are sums of integers and of their squares, which are exact.
type moments struct{ sum, squares int64 }

func (m *moments) add(v int32) {
	m.sum += int64(v)
	m.squares += int64(v) * int64(v)
}

// over returns the mean and the standard deviation of n numbers.
func (m moments) over(n int64) (mean, sd float64) {
	return meanAndDeviation(float64(m.sum), float64(m.squares), float64(n))
}

// NewCopy runs the pass over a working copy in sRGB. stored contains its levels before the conversion to sRGB; nil
// means that they were the same.
func NewCopy(img *image.NRGBA, stored *[256]uint32) *Copy {
	flat := onWhite(img)
	m := &Copy{
		Image: img, OnWhite: flat,
		light: plane{width: flat.Rect.Dx(), height: flat.Rect.Dy()},
		cells: make([]cell, 16*16*16),
	}
	pixels := m.light.width * m.light.height
	m.light.pix = make([]byte, pixels)
	for i := range m.light.pix {
		on := flat.Pix[4*i : 4*i+4 : 4*i+4]
		luma := lumaOf(on[0], on[1], on[2])
		m.light.pix[i] = luma
		m.levels[luma]++

		p := img.Pix[4*i : 4*i+4 : 4*i+4]
		if p[3] != 255 {
			m.transparent = true
			if p[3] < opaqueEnough {
				continue
			}
		}
		r, g, b := int32(p[0]), int32(p[1]), int32(p[2])
		greatest, least := max(r, g, b), min(r, g, b)
		m.seen++
		m.greatest += int64(greatest)
		m.chromas[uint8(greatest-least)]++
		m.redGreen.add(r - g)
		m.yellow.add(r + g - 2*b)
		c := &m.cells[r>>4<<8|g>>4<<4|b>>4]
		c.n++
		c.r += uint32(r)
		c.g += uint32(g)
		c.b += uint32(b)
	}
	m.stored = m.levels
	if stored != nil {
		m.stored = *stored
	}
	return m
}

// opaqueEnough is the minimum alpha at which a pixel's color counts.
const opaqueEnough = 128

// lumaOf returns the luma of Rec. 601.
func lumaOf(r, g, b uint8) uint8 {
	return uint8((299*uint32(r) + 587*uint32(g) + 114*uint32(b) + 500) / 1000)
}

// below returns the fraction of the counted values that are at most limit.
func below(counts *[256]uint32, limit int) float64 {
	under, all := 0.0, 0.0
	for v, n := range counts {
		all += float64(n)
		if v <= limit {
			under += float64(n)
		}
	}
	if all == 0 {
		return 0
	}
	return under / all
}

// meanAndDeviation returns the mean and the standard deviation of n values from their sum and the sum of their
// squares, which are integers and exact.
func meanAndDeviation(sum, squares, n float64) (mean, sd float64) {
	mean = sum / n
	return mean, math.Sqrt(max(0, squares/n-mean*mean))
}
