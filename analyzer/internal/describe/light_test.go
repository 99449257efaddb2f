package describe

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
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
		"black":       {fixture.Filled(40, 40, color.Black), statistics{0, 0, 0, 0, 1, 0}},
		"white":       {fixture.Filled(40, 40, color.White), statistics{0, 0, 0, 0, 0, 1}},
		"red":         {fixture.Filled(40, 40, color.NRGBA{255, 0, 0, 255}), statistics{1, record.Round(0.3*math.Hypot(255, 127.5), 2), 1, 0, 0, 0}},
		"sky blue":    {fixture.Filled(40, 40, color.NRGBA{102, 153, 204, 255}), statistics{0.5, record.Round(0.3*math.Hypot(-51, -76.5), 2), -0.4, 0, 0, 0}},
		"four fields": {quarters, statistics{0.75, record.Round(math.Hypot(rg, yb), 2), 0, 2, 0, 0.25}},
		"nothing":     {fixture.Filled(40, 40, color.NRGBA{9, 9, 9, 0}), statistics{0, 0, 0, 0, 0, 1}},
	} {
		m, _ := describe(t, fixture.EncodePNG(t, c.img))
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
	plain := fixture.Photo(200, 150)
	loud := image.NewNRGBA(plain.Rect)
	for y := range 150 {
		for x := range 200 {
			gray.Set(x, y, plain.At(x, y))
			loud.SetNRGBA(x, y, color.NRGBA{fixture.Level(255 * float64(x) / 100), fixture.Level(255 * float64(y) / 75), fixture.Level(510 - 255*float64(x)/70), 255})
		}
	}
	last := -1.0
	for _, p := range []image.Image{gray, plain, loud} {
		m, _ := describe(t, fixture.EncodePNG(t, p))
		if m.Colorfulness < last+10 && last >= 0 {
			t.Errorf("colorfulness %v, want more than %v", m.Colorfulness, last)
		}
		last = m.Colorfulness
	}
}

func TestAlphaUsed(t *testing.T) {
	opaque := fixture.Filled(30, 20, color.NRGBA{1, 200, 3, 255})
	glass := fixture.Filled(30, 20, color.NRGBA{1, 200, 3, 200})
	withChannel := image.NewPaletted(image.Rect(0, 0, 30, 20), color.Palette{color.NRGBA{1, 2, 3, 255}, color.NRGBA{0, 0, 0, 0}})
	for name, c := range map[string]struct {
		img       image.Image
		has, used bool
	}{"opaque": {opaque, false, false}, "glass": {glass, true, true}, "an opaque channel": {withChannel, true, false}} {
		if m, _ := describe(t, fixture.EncodePNG(t, c.img)); m.HasAlpha != c.has || m.AlphaUsed != c.used {
			t.Errorf("%s: has %v, uses %v", name, m.HasAlpha, m.AlphaUsed)
		}
	}
}
