package visual

import (
	"math"
	"strings"
	"testing"

	"golang.org/x/image/colornames"
)

func TestLabOfKnownColors(t *testing.T) {
	for _, c := range []struct {
		r, g, b int
		want    lab
	}{
		{255, 255, 255, lab{100, 0, 0}},
		{0, 0, 0, lab{0, 0, 0}},
		{255, 0, 0, lab{53.24, 80.09, 67.20}},
		{0, 255, 0, lab{87.73, -86.18, 83.18}},
		{0, 0, 255, lab{32.30, 79.19, -107.86}},
		{119, 119, 119, lab{50.03, 0, 0}},
	} {
		got := labOf(c.r, c.g, c.b)
		if math.Abs(got.l-c.want.l) > 0.02 || math.Abs(got.a-c.want.a) > 0.02 || math.Abs(got.b-c.want.b) > 0.02 {
			t.Errorf("%d,%d,%d is %.2f, want %.2f", c.r, c.g, c.b, got, c.want)
		}
	}
}

// TestColorNamesMatchCSS compares the table with that of SVG 1.1, which CSS adopted and which lacks
// rebeccapurple.
func TestColorNamesMatchCSS(t *testing.T) {
	known := map[string]bool{"rebeccapurple": true, "aqua": true, "fuchsia": true}
	for _, c := range cssColors {
		name := strings.ReplaceAll(c.name, " ", "")
		if got := nearestName(labOf(c.rgb>>16, c.rgb>>8&255, c.rgb&255)); got != name {
			t.Errorf("%s is named %s", name, got)
		}
		if want, ok := colornames.Map[name]; ok {
			if got := int(want.R)<<16 | int(want.G)<<8 | int(want.B); got != c.rgb {
				t.Errorf("%s is %06x, in CSS %06x", name, c.rgb, got)
			}
		} else if name != "rebeccapurple" {
			t.Errorf("CSS has no %s", name)
		}
		known[name] = true
		if InWords(name) != c.name {
			t.Errorf("%s in words is %q", name, InWords(name))
		}
	}
	for name := range colornames.Map {
		if !known[name] && !known[strings.ReplaceAll(name, "grey", "gray")] {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestColorNamesAPersonWouldGive tests colors between the named ones.
func TestColorNamesAPersonWouldGive(t *testing.T) {
	for rgb, want := range map[int]string{
		0x24628b: "steelblue", 0x8fa9bf: "lightsteelblue", 0x704020: "saddlebrown", 0xa52030: "brown",
		0x6f7b84: "slategray", 0xfdfdfd: "white", 0x050505: "black", 0xe0c0a0: "tan", 0x1f8a2a: "forestgreen",
	} {
		if got := nearestName(labOf(rgb>>16, rgb>>8&255, rgb&255)); got != want {
			t.Errorf("%06x is named %s, want %s", rgb, got, want)
		}
	}
}
