package visual

import (
	"encoding/base64"
	"image"
	"math"

	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// thumbSide is the long side of the copy that a ThumbHash is computed from, the maximum that its reference
// accepts. The hash contains no finer detail.
const thumbSide = 100

// thumbHash sets the hash.
func thumbHash(c *Copy, m *pipeline.Metadata) {
	if c.transparent {
		m.ThumbHash = thumbHashOf(c.Image)
		return
	}
	m.ThumbHash = thumbHashOf(c.OnWhite) // the same pixels, which are scaled without a look at their alpha
}

// thumbHashOf encodes the image with its transparency as a ThumbHash (https://evanw.github.io/thumbhash,
// js/thumbhash.js in github.com/evanw/thumbhash), in Base64. It applies the cosines of the two axes one after
// the other.
func thumbHashOf(m image.Image) string {
	width, height := scale.Fit(m.Bounds().Dx(), m.Bounds().Dy(), thumbSide)
	return base64.StdEncoding.EncodeToString(thumbBytes(scale.Reduce(m, width, height, nil)))
}

// thumbBytes returns the hash of an image of at most 100×100 pixels.
func thumbBytes(m *image.NRGBA) []byte {
	width, height := m.Rect.Dx(), m.Rect.Dy()
	channels, transparent := opponents(m)

	// With transparency, fewer details of light are kept.
	limit := 7
	if transparent {
		limit = 5
	}
	long := max(width, height)
	across := max(1, int(math.Floor(float64(limit*width)/float64(long)+0.5)))
	down := max(1, int(math.Floor(float64(limit*height)/float64(long)+0.5)))
	cosX, cosY := middleCosines(max(3, across, 5), width), middleCosines(max(3, down, 5), height)

	l := thumbTransform(channels[0], cosX[:max(3, across)], cosY[:max(3, down)])
	p := thumbTransform(channels[1], cosX[:3], cosY[:3])
	q := thumbTransform(channels[2], cosX[:3], cosY[:3])

	sparse, landscape := across, width > height
	if landscape {
		sparse = down
	}
	head := steps(63, l.mean) | steps(31.5, 1+p.mean)<<6 | steps(31.5, 1+q.mean)<<12 | steps(31, l.scale)<<18 | bit(transparent)<<23
	tail := sparse | steps(63, p.scale)<<3 | steps(63, q.scale)<<9 | bit(landscape)<<15
	hash := []byte{byte(head), byte(head >> 8), byte(head >> 16), byte(tail), byte(tail >> 8)}
	details := [][]float64{l.details, p.details, q.details}
	if transparent {
		a := thumbTransform(channels[3], cosX[:5], cosY[:5])
		hash = append(hash, byte(steps(15, a.mean)|steps(15, a.scale)<<4))
		details = append(details, a.details)
	}
	low := true
	for _, channel := range details {
		for _, d := range channel {
			if low {
				hash = append(hash, byte(steps(15, d)))
			} else {
				hash[len(hash)-1] |= byte(steps(15, d) << 4)
			}
			low = !low
		}
	}
	return hash
}

// opponents splits an image, blended over its own mean color, into light, yellow against blue, red against
// green, and alpha.
func opponents(m *image.NRGBA) (channels [4][]float64, transparent bool) {
	n := m.Rect.Dx() * m.Rect.Dy()
	var mean [3]float64
	opacity := 0.0
	for i := range n {
		p := m.Pix[4*i : 4*i+4 : 4*i+4]
		alpha := float64(p[3]) / 255
		for c := range mean {
			mean[c] += alpha / 255 * float64(p[c])
		}
		opacity += alpha
	}
	if opacity > 0 {
		for c := range mean {
			mean[c] /= opacity
		}
	}
	for c := range channels {
		channels[c] = make([]float64, n)
	}
	for i := range n {
		p := m.Pix[4*i : 4*i+4 : 4*i+4]
		alpha := float64(p[3]) / 255
		r := mean[0]*(1-alpha) + alpha/255*float64(p[0])
		g := mean[1]*(1-alpha) + alpha/255*float64(p[1])
		b := mean[2]*(1-alpha) + alpha/255*float64(p[2])
		channels[0][i] = (r + g + b) / 3
		channels[1][i] = (r+g)/2 - b
		channels[2][i] = r - g
		channels[3][i] = alpha
	}
	return channels, opacity < float64(n)
}

// thumbChannel is a channel by its frequencies.
type thumbChannel struct {
	mean    float64
	details []float64 // 0 to 1 as fractions of the scale; the middle stands for zero
	scale   float64   // the largest detail
}

// thumbTransform keeps the lower frequencies of a channel: those of the triangle that the axes' highest
// frequencies span.
func thumbTransform(channel []float64, cosX, cosY [][]float64) (t thumbChannel) {
	width, height := len(cosX[0]), len(cosY[0])
	rows := make([]float64, height*len(cosX))
	for y := range height {
		row := channel[y*width:][:width]
		for cx, basis := range cosX {
			sum := 0.0
			basis = basis[:len(row)]
			for x, v := range row {
				sum += v * basis[x]
			}
			rows[y*len(cosX)+cx] = sum
		}
	}
	for cy, basis := range cosY {
		for cx := 0; cx*len(cosY) < len(cosX)*(len(cosY)-cy); cx++ {
			f := 0.0
			for y := range height {
				f += basis[y] * rows[y*len(cosX)+cx]
			}
			f /= float64(width * height)
			if cx == 0 && cy == 0 {
				t.mean = f
				continue
			}
			// On a uniform surface, only the rounding of the sums remains.
			if math.Abs(f) < 1e-9 {
				f = 0
			}
			t.details = append(t.details, f)
			t.scale = max(t.scale, math.Abs(f))
		}
	}
	if t.scale > 0 {
		for i, f := range t.details {
			t.details[i] = 0.5 + 0.5/t.scale*f
		}
	}
	return t
}

// middleCosines returns the values of the first n cosines in the middle of each of size positions.
func middleCosines(n, size int) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, size)
		for x := range out[i] {
			out[i][x] = math.Cos(math.Pi / float64(size) * float64(i) * (float64(x) + 0.5))
		}
	}
	return out
}

// steps rounds a value from 0 to 1 to one of limit steps, as JavaScript does.
func steps(limit, v float64) int { return int(math.Floor(limit*v + 0.5)) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
