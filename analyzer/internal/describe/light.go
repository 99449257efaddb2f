package describe

import (
	"image"
	"math"
)

// plane is the luma of the working copy, on white where it is transparent: Rec.
// 601, 0 to 255.
type plane struct {
	pix           []byte
	width, height int
}

func luma(m *image.RGBA) plane {
	p := plane{width: m.Rect.Dx(), height: m.Rect.Dy()}
	p.pix = make([]byte, p.width*p.height)
	for i := range p.pix {
		rgb := m.Pix[4*i : 4*i+3 : 4*i+3]
		p.pix[i] = uint8((299*uint32(rgb[0]) + 587*uint32(rgb[1]) + 114*uint32(rgb[2]) + 500) / 1000)
	}
	return p
}

// brightnessAndContrast are the mean of the luma, 0 to 1, and its standard
// deviation (RMS contrast), 0 to 0.5; 4 decimals each.
func brightnessAndContrast(p plane) (brightness, contrast float64) {
	var sum, squares uint64
	for _, v := range p.pix {
		sum += uint64(v)
		squares += uint64(v) * uint64(v)
	}
	mean, sd := meanAndDeviation(float64(sum), float64(squares), float64(len(p.pix)))
	return round(mean/255, 4), round(sd/255, 4)
}

// sharpness is the variance of the 4-neighbour Laplacian of the luma, 2 decimals
// (Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, 2000). It
// depends on scale and is therefore always taken at the working size. A picture
// without an inside has none.
func sharpness(p plane) float64 {
	var sum, squares int64
	for y := 1; y < p.height-1; y++ {
		above := p.pix[(y-1)*p.width:][:p.width]
		row := p.pix[y*p.width:][:p.width]
		below := p.pix[(y+1)*p.width:][:p.width]
		for x := 1; x < p.width-1; x++ {
			v := int64(above[x]) + int64(below[x]) + int64(row[x-1]) + int64(row[x+1]) - 4*int64(row[x])
			sum += v
			squares += v * v
		}
	}
	n := (p.width - 2) * (p.height - 2)
	if p.width < 3 || p.height < 3 {
		return 0
	}
	_, sd := meanAndDeviation(float64(sum), float64(squares), float64(n))
	return round(sd*sd, 2)
}

// meanAndDeviation gives the mean and the standard deviation of n values from
// their sum and the sum of their squares, which are whole numbers and exact.
func meanAndDeviation(sum, squares, n float64) (mean, sd float64) {
	mean = sum / n
	return mean, math.Sqrt(max(0, squares/n-mean*mean))
}

// round rounds half away from zero to so many decimals.
func round(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale) / scale
}
