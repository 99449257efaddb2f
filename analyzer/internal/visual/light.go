package visual

import (
	"math"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// light sets the values about light, and the sharpness.
func light(c *Copy, m *pipeline.Metadata) {
	m.Brightness, m.Contrast = c.brightnessAndContrast()
	m.ShadowsClipped, m.HighlightsClipped = c.clipping()
	m.Entropy, m.Sharpness = c.entropy(), sharpness(c.light)
}

// plane is the luma of the working copy (Rec. 601, 0 to 255), with white under transparent pixels.
type plane struct {
	pix           []byte
	width, height int
}

// clipped is the number of levels at either end of the luma that count as clipped. A working copy averages many
// pixels, and JPEG rings around the ends.
const clipped = 4

// brightnessAndContrast returns the mean of the luma, 0 to 1, and its standard deviation (RMS contrast), 0 to
// 0.5; 4 decimals each.
func (m *Copy) brightnessAndContrast() (brightness, contrast float64) {
	var sum, squares uint64
	for v, n := range m.levels {
		sum += uint64(v) * uint64(n)
		squares += uint64(v*v) * uint64(n)
	}
	mean, sd := meanAndDeviation(float64(sum), float64(squares), float64(len(m.light.pix)))
	return record.Round(mean/255, 4), record.Round(sd/255, 4)
}

// clipping returns the fractions of the pixels that are nearly black and nearly white as they were stored, before
// colors outside sRGB were clipped; 4 decimals.
func (m *Copy) clipping() (shadows, highlights float64) {
	return record.Round(below(&m.stored, clipped), 4), record.Round(1-below(&m.stored, 254-clipped), 4)
}

// entropy returns the Shannon entropy of the histogram of the luma in bits: 0 for a uniform surface and 8 if
// all levels are equally frequent; 3 decimals (C. E. Shannon, A Mathematical Theory of Communication, 1948).
func (m *Copy) entropy() float64 {
	total, bits := float64(len(m.light.pix)), 0.0
	for _, n := range m.levels {
		if n > 0 {
			part := float64(n) / total
			bits -= part * math.Log2(part)
		}
	}
	return record.Round(bits, 3)
}

// sharpness returns the variance of the 4-neighbor Laplacian of the luma, 2 decimals (Pech-Pacheco et al.,
// Diatom autofocusing in brightfield microscopy, 2000). It depends on the scale and is therefore always
// computed at the working size. It is 0 for an image without inner pixels.
func sharpness(p plane) float64 {
	if p.width < 3 || p.height < 3 {
		return 0
	}
	var all moments
	for y := 1; y < p.height-1; y++ {
		above := p.pix[(y-1)*p.width:][:p.width]
		row := p.pix[y*p.width:][:p.width]
		below := p.pix[(y+1)*p.width:][:p.width]
		// The sums of one row fit into 32 bits: at most 320 squares of 1020.
		sum, squares := int32(0), uint32(0)
		left, here := int32(row[0]), int32(row[1])
		for x := 1; x < len(row)-1; x++ {
			right := int32(row[x+1])
			v := int32(above[x]) + int32(below[x]) + left + right - 4*here
			sum += v
			squares += uint32(v * v)
			left, here = here, right
		}
		all.sum += int64(sum)
		all.squares += int64(squares)
	}
	_, sd := all.over(int64(p.width-2) * int64(p.height-2))
	return record.Round(sd*sd, 2)
}
