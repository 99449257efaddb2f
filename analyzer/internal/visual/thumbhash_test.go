package visual

import (
	"encoding/base64"
	"image"
	"image/color"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

// patterned returns an image that the reference can generate as well.
func patterned(width, height int, transparent bool) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{uint8(7*x + 3*y), uint8(x*y + 5*y), uint8(11*y + 2*x + 90), 255}
			if transparent {
				c.A = uint8(5*x + 3*y)
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// TestThumbHashMatchesTheReference compares with the results of the reference, npm's thumbhash 0.1.1, for the
// same images.
func TestThumbHashMatchesTheReference(t *testing.T) {
	for _, c := range []struct {
		width, height int
		transparent   bool
		want          string
	}{
		{75, 100, false, "3wcCDQJmVaWncVNghndll5ZVUNi/"},
		{100, 75, false, "3wcGDYJ4iGh2WAh1dVV5h7UHsfuT"},
		{64, 64, false, "3xcGFwKYR3dXBpiFhXtnaXleRAkU+R0I"},
		{100, 20, false, "3hcKKYR2dYCmdHZFZAJ06Ps="},
		{100, 75, true, "3/eBDIIYr6hlaJVUqo9j70mZqIWEcHN3Bw=="},
		{20, 90, true, "YjiCCQQnqwYVWZxcA7B3IIeHRneAmXk="},
		{40, 40, true, "oAeGFQgYDIhH1mrbBApmsZClMGk1W6V2hw=="},
	} {
		m := patterned(c.width, c.height, c.transparent)
		if got := base64.StdEncoding.EncodeToString(thumbBytes(m)); got != c.want {
			t.Errorf("%d×%d: got %s, want %s", c.width, c.height, got, c.want)
		}
	}
}

// TestThumbHashOfAUniformSurface verifies that the hash contains only the color, and no rounding errors.
func TestThumbHashOfAUniformSurface(t *testing.T) {
	want := thumbHashOf(fixture.Filled(64, 64, color.NRGBA{90, 120, 33, 255}))
	for _, side := range []int{100, 320, 317} {
		if got := thumbHashOf(fixture.Filled(side, side, color.NRGBA{90, 120, 33, 255})); got != want {
			t.Errorf("%d pixels: %s, 64 pixels: %s", side, got, want)
		}
	}
	if got := thumbHashOf(fixture.Filled(9, 9, color.NRGBA{1, 2, 3, 0})); len(got) == 0 {
		t.Error("an invisible image has no hash")
	}
}
