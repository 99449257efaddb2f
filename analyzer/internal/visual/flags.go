package visual

import (
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The flags, in the order of the record.
const (
	Screenshot  = "screenshot"
	Blank       = "blank"
	Blurred     = "blurred"
	Dark        = "dark"
	Overexposed = "overexposed"
	Greyscale   = "greyscale"
	Monochrome  = "monochrome"
)

// flags sets the flags that a person would assign at a glance. The thresholds were chosen on images of
// many cameras and on generated ones (flags_test.go). A missing flag does no harm, a wrong one does, so each
// flag requires more evidence than would be right most of the time.
func flags(m *Copy, found *pipeline.Metadata) {
	add := func(flag string, is bool) {
		if is {
			found.Flags = append(found.Flags, flag)
		}
	}
	add(Screenshot, isScreenshot(m, found))
	blank := isBlank(m, found)
	add(Blank, blank)
	// Light and sharpness cannot be judged on a uniform surface.
	add(Blurred, !blank && isBlurred(m, found))
	add(Dark, !blank && isDark(m, found))
	add(Overexposed, !blank && isOverexposed(m, found))
	gray := isGreyscale(m)
	add(Greyscale, gray)
	add(Monochrome, !gray && isMonochrome(m))
}

// isScreenshot reports whether the file is a screenshot. Either it says so, in a comment (as phones of Apple
// and Samsung write it) or in the name of the program; or it is an opaque PNG without a camera, has exactly the
// size of a phone's or laptop's screen that is rare otherwise, and is as flat as only drawn content is.
func isScreenshot(m *Copy, found *pipeline.Metadata) bool {
	if strings.EqualFold(m.Comment, "screenshot") {
		return true
	}
	camera := false
	if e := found.Exif; e != nil {
		software := strings.ToLower(e.Software)
		for _, program := range [...]string{"screenshot", "screenshooter", "flameshot", "greenshot", "lightshot", "sharex"} {
			if strings.Contains(software, program) {
				return true
			}
		}
		camera = e.CameraMake != "" || e.CameraModel != "" || e.ExposureTime != ""
	}
	size := [2]int{min(found.Width, found.Height), max(found.Width, found.Height)}
	return found.Format == imagefile.PNG.Name && !camera && !m.transparent && slices.Contains(screens[:], size) && m.light.flat() >= 0.3
}

// screens lists sizes of screens, the short side first, that are not usual for slides, wallpapers or films.
var screens = [...][2]int{
	{640, 1136},
	{750, 1334},
	{828, 1792},
	{1125, 2436},
	{1170, 2532},
	{1179, 2556},
	{1206, 2622},
	{1242, 2208},
	{1242, 2688},
	{1284, 2778},
	{1290, 2796},
	{1320, 2868}, // Apple phones
	{1488, 2266},
	{1620, 2160},
	{1640, 2360},
	{1668, 2224},
	{1668, 2388},
	{2048, 2732}, // Apple tablets
	{1080, 2220},
	{1080, 2280},
	{1080, 2310},
	{1080, 2340},
	{1080, 2400},
	{1080, 2408},
	{1080, 2412},
	{1080, 2460},
	{1220, 2712},
	{1344, 2992},
	{1440, 2960},
	{1440, 3040},
	{1440, 3088},
	{1440, 3120},
	{1440, 3200}, // Android phones
	{1664, 2560},
	{1864, 2880},
	{1964, 3024},
	{2234, 3456}, // Apple laptops
}

// isBlank reports whether the image is a uniform surface or invisible: the luma deviates by less than 2.5 of
// 255 on average, one color covers at least 99%, and so does one degree of transparency. A translucent image shows
// on a background what it would show opaque, and a white shape is visible on a dark one.
func isBlank(m *Copy, found *pipeline.Metadata) bool {
	return found.Contrast <= 0.01 && (m.seen == 0 || found.Colors[0].Share >= 0.99) && (!m.transparent || m.plain())
}

// plain reports whether 99% of the pixels, on white and in their transparency, are close to the mean.
func (m *Copy) plain() bool {
	const near = 8
	var sums, means [4]int
	n := len(m.light.pix)
	pixel := func(i int) [4]int {
		on := m.OnWhite.Pix[4*i : 4*i+4 : 4*i+4]
		return [4]int{int(on[0]), int(on[1]), int(on[2]), int(m.Image.Pix[4*i+3])}
	}
	for i := range n {
		for c, v := range pixel(i) {
			sums[c] += v
		}
	}
	for c, sum := range sums {
		means[c] = sum / n
	}
	away := 0
	for i := range n {
		for c, v := range pixel(i) {
			if v < means[c]-near || v > means[c]+near {
				away++
				break
			}
		}
	}
	return away*100 <= n
}

// isBlurred reports whether the image has no edge anywhere, although it has light and dark parts. It requires
// an image of the full working size whose luma varies (contrast of 0.1), in which no more than one step in a
// thousand from a pixel to the next is over 12 of 255, and whose Laplacian is close to zero. Such a photo is
// out of focus by about a fiftieth of its width, which is visible in a thumbnail.
func isBlurred(m *Copy, found *pipeline.Metadata) bool {
	return max(m.light.width, m.light.height) == Size && found.Contrast >= 0.1 && found.Sharpness <= 12 &&
		IsPhoto(found) && m.light.steepest() <= 12
}

// isDark reports whether the mean luma is below 1/8 and nine of ten pixels are below 1/4, and no sample of nine of
// ten pixels is over 1/2: pure blue has little luma, but it is a bright color.
func isDark(m *Copy, found *pipeline.Metadata) bool {
	return found.Brightness <= 0.125 && below(&m.levels, 63) >= 0.9 && !m.vivid()
}

// vivid reports whether more than one in ten pixels has a sample over 1/2.
func (m *Copy) vivid() bool {
	n := 0
	for i := 0; i < len(m.OnWhite.Pix); i += 4 {
		if p := m.OnWhite.Pix[i : i+3 : i+3]; max(p[0], p[1], p[2]) > 127 {
			n++
		}
	}
	return n*10 > len(m.light.pix)
}

// isOverexposed reports whether, in a photo, a quarter of the pixels is nearly white, the mean luma is over
// 0.75, and there is no dark part, as there would be if white paper was photographed. The rest must have the
// many shades that drawings lack.
func isOverexposed(m *Copy, found *pipeline.Metadata) bool {
	return IsPhoto(found) && found.HighlightsClipped >= 0.25 && found.Brightness >= 0.75 && below(&m.levels, 50) <= 0.01 && found.Entropy >= 3.5
}

// IsPhoto reports whether a camera took the image, according to its metadata.
func IsPhoto(found *pipeline.Metadata) bool {
	e := found.Exif
	return e != nil && (e.ExposureTime != "" || e.FNumber > 0 || e.ISO > 0 || e.FocalLength > 0)
}

// isGreyscale reports whether in at least 99.9% of the pixels the samples differ by at most 8, which
// JPEG's rounding can turn gray into.
func isGreyscale(m *Copy) bool {
	return m.seen > 0 && below(&m.chromas, 8) >= 0.999
}

// isMonochrome reports whether the image has one color on gray, such as sepia. At least half of the pixels are
// colored (their samples differ by 24), at least 99% of these are within 20 degrees of hue, and pixels
// of equal luma are about equally colored: the difference of their samples deviates by at most 10. A gray
// object before a blue sky is not monochrome.
func isMonochrome(m *Copy) bool {
	const window, bins = 20, 360
	var hues [bins]int
	var bands [16]struct {
		n       int64
		chromas moments
	}
	colored := 0
	for _, c := range m.cells {
		if c.n == 0 {
			continue
		}
		n := int(c.n)
		r, g, b := cluster{n, int(c.r), int(c.g), int(c.b)}.mean()
		chroma := max(r, g, b) - min(r, g, b)
		band := &bands[lumaOf(uint8(r), uint8(g), uint8(b))>>4]
		band.n += int64(n)
		band.chromas.sum += int64(n * chroma)
		band.chromas.squares += int64(n * chroma * chroma)
		if chroma < 24 {
			continue
		}
		angle := 0
		switch max(r, g, b) {
		case r:
			angle = (60*(g-b)/chroma + 360) % 360
		case g:
			angle = 60*(b-r)/chroma + 120
		default:
			angle = 60*(r-g)/chroma + 240
		}
		hues[angle] += n
		colored += n
	}
	if m.seen == 0 || int64(colored)*2 < m.seen {
		return false
	}
	strays := 0.0
	for _, band := range bands {
		if band.n > 0 {
			_, sd := band.chromas.over(band.n)
			strays += sd * float64(band.n) / float64(m.seen)
		}
	}
	inside := 0
	for _, n := range hues[:window] {
		inside += n
	}
	most := inside
	for i, n := range hues {
		inside += hues[(i+window)%bins] - n
		most = max(most, inside)
	}
	return strays <= 10 && most*100 >= colored*99
}

// flat returns the fraction of the pixels that have exactly the luma of the one to their left.
func (p plane) flat() float64 {
	same := 0
	for y := range p.height {
		row := p.pix[y*p.width:][:p.width]
		for x := 1; x < len(row); x++ {
			if row[x] == row[x-1] {
				same++
			}
		}
	}
	return float64(same) / float64(len(p.pix))
}

// steepest returns the step of luma from a pixel to the next, across or down, that only a thousandth of the
// steps exceed.
func (p plane) steepest() int {
	var steps [256]uint32
	for y := 1; y < p.height; y++ {
		above, row := p.pix[(y-1)*p.width:][:p.width], p.pix[y*p.width:][:p.width]
		for x := 1; x < len(row); x++ {
			across, down := int(row[x])-int(row[x-1]), int(row[x])-int(above[x])
			steps[max(across, -across, down, -down)]++
		}
	}
	for i := range steps {
		if below(&steps, i) >= 0.999 {
			return i
		}
	}
	return 255
}
