package describe

import (
	"image"
	"image/color"
	"math"
	"testing"
)

// TestStatisticsOfKnownImages compares with values that follow from the definitions.
func TestStatisticsOfKnownImages(t *testing.T) {
	quarters := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	for y := range 100 {
		for x := range 100 {
			quarters.SetNRGBA(x, y, [4]color.NRGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}[y/50*2+x/50])
		}
	}
	type statistics struct{ saturation, colorfulness, warmth, entropy, shadows, highlights float64 }
	// red−green is 255, −255, 0, 0; yellow is 127.5, 127.5, −255, 0.
	rg, yb := 255*math.Sqrt(0.5), math.Sqrt((2*127.5*127.5+255*255)/4)
	for name, c := range map[string]struct {
		img  *image.NRGBA
		want statistics
	}{
		"black":       {filled(40, 40, color.Black), statistics{0, 0, 0, 0, 1, 0}},
		"white":       {filled(40, 40, color.White), statistics{0, 0, 0, 0, 0, 1}},
		"red":         {filled(40, 40, color.NRGBA{255, 0, 0, 255}), statistics{1, round(0.3*math.Hypot(255, 127.5), 2), 1, 0, 0, 0}},
		"sky blue":    {filled(40, 40, color.NRGBA{102, 153, 204, 255}), statistics{0.5, round(0.3*math.Hypot(-51, -76.5), 2), -0.4, 0, 0, 0}},
		"four fields": {quarters, statistics{0.75, round(math.Hypot(rg, yb), 2), 0, 2, 0, 0.25}},
		"nothing":     {filled(40, 40, color.NRGBA{9, 9, 9, 0}), statistics{0, 0, 0, 0, 0, 1}},
	} {
		m, _ := describe(t, encodePNG(t, c.img))
		got := statistics{m.Saturation, m.Colorfulness, m.Warmth, m.Entropy, m.ShadowsClipped, m.HighlightsClipped}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestColorfulnessOrdersImages verifies that the colorfulness increases from a gray image to its colored
// version and to a very colorful one.
func TestColorfulnessOrdersImages(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, 200, 150))
	plain := photo(200, 150)
	loud := image.NewNRGBA(plain.Rect)
	for y := range 150 {
		for x := range 200 {
			gray.Set(x, y, plain.At(x, y))
			loud.SetNRGBA(x, y, color.NRGBA{level(255 * float64(x) / 100), level(255 * float64(y) / 75), level(510 - 255*float64(x)/70), 255})
		}
	}
	last := -1.0
	for _, p := range []image.Image{gray, plain, loud} {
		m, _ := describe(t, encodePNG(t, p))
		if m.Colorfulness < last+10 && last >= 0 {
			t.Errorf("colorfulness %v, want more than %v", m.Colorfulness, last)
		}
		last = m.Colorfulness
	}
}

func TestAlphaUsed(t *testing.T) {
	opaque := filled(30, 20, color.NRGBA{1, 200, 3, 255})
	glass := filled(30, 20, color.NRGBA{1, 200, 3, 200})
	withChannel := image.NewPaletted(image.Rect(0, 0, 30, 20), color.Palette{color.NRGBA{1, 2, 3, 255}, color.NRGBA{0, 0, 0, 0}})
	for name, c := range map[string]struct {
		img       image.Image
		has, used bool
	}{"opaque": {opaque, false, false}, "glass": {glass, true, true}, "an opaque channel": {withChannel, true, false}} {
		if m, _ := describe(t, encodePNG(t, c.img)); m.HasAlpha != c.has || m.AlphaUsed != c.used {
			t.Errorf("%s: has %v, uses %v", name, m.HasAlpha, m.AlphaUsed)
		}
	}
}

// TestDHashMatchesTheDefinition verifies that each bit is set if the pixel is brighter than the one to its
// left.
func TestDHashMatchesTheDefinition(t *testing.T) {
	p := plane{pix: make([]byte, 72), width: 9, height: 8}
	for i := range p.pix {
		p.pix[i] = byte(i * i * 7)
	}
	want := ""
	for y := range 8 {
		bits := 0
		for x := range 8 {
			bits <<= 1
			if p.pix[9*y+x+1] > p.pix[9*y+x] {
				bits |= 1
			}
		}
		want += string("0123456789abcdef"[bits>>4]) + string("0123456789abcdef"[bits&15])
	}
	if got := dHash(p); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestShape(t *testing.T) {
	for _, c := range []struct {
		width, height int
		want          string
	}{{4000, 3000, "landscape"}, {3000, 4000, "portrait"}, {1000, 1000, "square"}, {1000, 990, "square"}, {1000, 989, "landscape"}, {1, 2, "portrait"}} {
		if got := shape(c.width, c.height); got != c.want {
			t.Errorf("%d×%d is %s, want %s", c.width, c.height, got, c.want)
		}
	}
}
