package describe

import (
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The flags, in the order in which they are told.
const (
	flagScreenshot  = "screenshot"
	flagBlank       = "blank"
	flagBlurred     = "blurred"
	flagDark        = "dark"
	flagOverexposed = "overexposed"
	flagGreyscale   = "greyscale"
	flagMonochrome  = "monochrome"
)

// flagsOf tells what a person would say of the picture at a glance. The thresholds
// were chosen on pictures of many cameras and on generated ones (flags_test.go): a
// flag that is missing does no harm, and one that is wrong does. So each asks for
// more than is needed to be right most of the time.
func flagsOf(h imagefile.Header, m *measured, found *pipeline.Metadata, comment string) []string {
	var flags []string
	add := func(flag string, is bool) {
		if is {
			flags = append(flags, flag)
		}
	}
	add(flagScreenshot, isScreenshot(h, m, found, comment))
	blank := isBlank(m, found)
	add(flagBlank, blank)
	// An even surface has no light or sharpness to judge.
	add(flagBlurred, !blank && isBlurred(m, found))
	add(flagDark, !blank && isDark(m, found))
	add(flagOverexposed, !blank && isOverexposed(m, found))
	grey := isGreyscale(m)
	add(flagGreyscale, grey)
	add(flagMonochrome, !grey && isMonochrome(m))
	return flags
}

// isScreenshot: the file says so, in a comment (as phones of Apple and Samsung
// write it) or in the name of the program; or it is a PNG of no camera, opaque, of
// exactly the size of a phone's or laptop's screen that hardly anything else has,
// and flat as only what is drawn is.
func isScreenshot(h imagefile.Header, m *measured, found *pipeline.Metadata, comment string) bool {
	if strings.EqualFold(comment, "screenshot") {
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
	size := [2]int{min(h.Width, h.Height), max(h.Width, h.Height)}
	return h.Format == imagefile.PNG && !camera && !m.transparent && slices.Contains(screens[:], size) && m.light.flat() >= 0.3
}

// screens are the sizes of screens, the short side first, that are not usual for
// slides, wallpapers or films.
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

// isBlank: an even surface, or nothing that can be seen. The luma differs by less
// than 2.5 of 255 on the average, and one colour covers all but a hundredth.
func isBlank(m *measured, found *pipeline.Metadata) bool {
	return m.seen == 0 || found.Contrast <= 0.01 && found.Colors[0].Share >= 0.99
}

// isBlurred: no edge anywhere, although there is light and shade. It asks for a
// picture of the full working size whose luma spreads (contrast of 0.1), in which
// not one step in a thousand from a pixel to the next is over 12 of 255 and the
// Laplacian is next to nothing. A photograph is out of focus by about a fiftieth
// of its width then, which shows in a thumbnail.
func isBlurred(m *measured, found *pipeline.Metadata) bool {
	return max(m.light.width, m.light.height) == WorkingSize && found.Contrast >= 0.1 && found.Sharpness <= 12 &&
		isPhoto(found) && m.light.steepest() <= 12
}

// isDark: the mean luma is below an eighth, and nine of ten pixels are below a
// quarter.
func isDark(m *measured, found *pipeline.Metadata) bool {
	return found.Brightness <= 0.125 && below(&m.levels, 63) >= 0.9
}

// isOverexposed: in the picture of a camera a quarter of the pixels is as good as
// white, the mean luma is over 0.75, nothing is dark, as there is where white
// paper was photographed, and the rest has the many shades that drawings lack.
func isOverexposed(m *measured, found *pipeline.Metadata) bool {
	return isPhoto(found) && found.HighlightsClipped >= 0.25 && found.Brightness >= 0.75 && below(&m.levels, 50) <= 0.01 && found.Entropy >= 3.5
}

// isPhoto tells whether a camera took the picture, by what it wrote.
func isPhoto(found *pipeline.Metadata) bool {
	e := found.Exif
	return e != nil && (e.ExposureTime != "" || e.FNumber > 0 || e.ISO > 0 || e.FocalLength > 0)
}

// isGreyscale: of all but a thousandth of the pixels the samples differ by at most
// 8, which JPEG's rounding may make of grey.
func isGreyscale(m *measured) bool {
	return m.seen > 0 && below(&m.chromas, 8) >= 0.999
}

// isMonochrome: one colour on grey, as sepia. Half of the pixels at least are
// coloured (samples differ by 24), of these all but a hundredth are within 20
// degrees of hue, and pixels of equal luma are about equally coloured: the
// difference of their samples strays by at most 10. Something grey before a blue
// sky is not monochrome.
func isMonochrome(m *measured) bool {
	const window, bins = 20, 360
	var hues [bins]int
	var bands [16]struct {
		n       int64
		chromas moments
	}
	coloured := 0
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
		coloured += n
	}
	if m.seen == 0 || int64(coloured)*2 < m.seen {
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
	return strays <= 10 && most*100 >= coloured*99
}

// flat is the part of the pixels that are exactly as light as the one to their
// left.
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

// steepest is the step of luma from a pixel to the next, across or down, that only
// a thousandth of the steps exceed.
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
