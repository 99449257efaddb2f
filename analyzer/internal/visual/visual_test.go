package visual

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
)

func TestDominantColors(t *testing.T) {
	// Five stripes of known sizes, each with a little noise that crosses the cells of the grid, and some
	// invisible pixels of another color.
	stripes := []struct {
		c     color.NRGBA
		width int
	}{
		{color.NRGBA{32, 64, 160, 255}, 100},
		{color.NRGBA{224, 32, 48, 255}, 70},
		{color.NRGBA{240, 240, 224, 255}, 50},
		{color.NRGBA{16, 128, 64, 255}, 30},
		{color.NRGBA{250, 200, 20, 255}, 20},
		{color.NRGBA{128, 0, 255, 0}, 30},
	}
	m := image.NewNRGBA(image.Rect(0, 0, 300, 100))
	r := rand.New(rand.NewPCG(3, 4))
	for y := range 100 {
		x := 0
		for _, s := range stripes {
			for range s.width {
				noise := func(v uint8) uint8 { return fixture.Level(float64(v) + 10*(r.Float64()-0.5)) }
				m.SetNRGBA(x, y, color.NRGBA{noise(s.c.R), noise(s.c.G), noise(s.c.B), s.c.A})
				x++
			}
		}
	}
	got := NewCopy(m, nil).palette()
	if len(got) != 5 {
		t.Fatalf("%d colors: %v", len(got), got)
	}
	for i, c := range got {
		want := cluster{1, int(stripes[i].c.R), int(stripes[i].c.G), int(stripes[i].c.B)}.hex()
		if got, want := hexColor(t, c.Hex), hexColor(t, want); math.Abs(got[0]-want[0]) > 2 || math.Abs(got[1]-want[1]) > 2 || math.Abs(got[2]-want[2]) > 2 {
			t.Errorf("color %d is %v, want %v", i, got, want)
		}
		if share := float64(stripes[i].width) / 270; math.Abs(c.Share-share) > 0.0001 {
			t.Errorf("share of color %d is %v, want %.4f", i, c.Share, share)
		}
	}
}

func TestSharpnessOfAKnownImage(t *testing.T) {
	// One white pixel on black in the middle of 5×5: the Laplacian of the inner 3×3 is -4·255 once and 255 four
	// times.
	p := plane{pix: make([]byte, 25), width: 5, height: 5}
	p.pix[12] = 255
	mean := 0.0
	squares := (16.0 + 4) * 255 * 255
	if got, want := sharpness(p), record.Round(squares/9-mean*mean, 2); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := sharpness(plane{pix: make([]byte, 2), width: 1, height: 2}); got != 0 {
		t.Errorf("an image without inner pixels has sharpness %v", got)
	}
}

// referenceBlurHash is encode of Algorithm.md and C/encode.c in github.com/woltapp/blurhash, unchanged: every
// basis function over every pixel.
func referenceBlurHash(m *image.NRGBA) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
	encode := func(value, length int) string {
		s := ""
		for i := 1; i <= length; i++ {
			digit := value / int(math.Pow(83, float64(length-i))) % 83
			s += alphabet[digit : digit+1]
		}
		return s
	}
	toLinear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	sRGB := func(v float64) int {
		v = math.Max(0, math.Min(1, v))
		if v <= 0.0031308 {
			return int(v*12.92*255 + 0.5)
		}
		return int((1.055*math.Pow(v, 1/2.4)-0.055)*255 + 0.5)
	}
	signPow := func(v, exp float64) float64 { return math.Copysign(math.Pow(math.Abs(v), exp), v) }
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var factors [][3]float64
	for j := range 3 {
		for i := range 4 {
			norm := 2.0
			if i == 0 && j == 0 {
				norm = 1
			}
			var f [3]float64
			for y := range h {
				for x := range w {
					basis := math.Cos(math.Pi*float64(i)*float64(x)/float64(w)) * math.Cos(math.Pi*float64(j)*float64(y)/float64(h))
					c := m.NRGBAAt(x, y)
					f[0] += basis * toLinear(c.R)
					f[1] += basis * toLinear(c.G)
					f[2] += basis * toLinear(c.B)
				}
			}
			for c := range f {
				f[c] *= norm / float64(w*h)
			}
			factors = append(factors, f)
		}
	}
	most := 0.0
	for _, f := range factors[1:] {
		most = math.Max(most, math.Max(math.Abs(f[0]), math.Max(math.Abs(f[1]), math.Abs(f[2]))))
	}
	quantised := int(math.Max(0, math.Min(82, math.Floor(most*166-0.5))))
	most = float64(quantised+1) / 166
	s := encode(3+2*9, 1) + encode(quantised, 1)
	dc := factors[0]
	s += encode(sRGB(dc[0])<<16+sRGB(dc[1])<<8+sRGB(dc[2]), 4)
	for _, f := range factors[1:] {
		q := func(v float64) int {
			return int(math.Max(0, math.Min(18, math.Floor(signPow(v/most, 0.5)*9+9.5))))
		}
		s += encode(q(f[0])*19*19+q(f[1])*19+q(f[2]), 2)
	}
	return s
}

func TestBlurHashMatchesTheReference(t *testing.T) {
	for _, size := range [][2]int{{64, 48}, {48, 64}, {64, 64}, {5, 3}, {1, 1}, {63, 1}} {
		m := fixture.Photo(size[0], size[1])
		straight := scale.Reduce(m, size[0], size[1], nil)
		if got, want := blurHashOf(m), referenceBlurHash(straight); got != want {
			t.Errorf("%v: got %s, want %s", size, got, want)
		}
	}
}

// TestPHashMatchesTheDefinition computes the hash directly from the definition of the cosine transform
// (DCT-II), in floating point.
func TestPHashMatchesTheDefinition(t *testing.T) {
	m := fixture.Photo(32, 32)
	p := NewCopy((*image.NRGBA)(m), nil).light
	var coefficients []float64
	for k := 1; k <= 8; k++ {
		for l := 1; l <= 8; l++ {
			sum := 0.0
			for y := range 32 {
				for x := range 32 {
					sum += float64(p.pix[32*y+x]) *
						math.Cos(math.Pi/32*(float64(y)+0.5)*float64(k)) * math.Cos(math.Pi/32*(float64(x)+0.5)*float64(l))
				}
			}
			coefficients = append(coefficients, sum)
		}
	}
	sorted := slices.Sorted(slices.Values(coefficients))
	want := uint64(0)
	for _, c := range coefficients {
		want <<= 1
		if c > (sorted[31]+sorted[32])/2 {
			want |= 1
		}
	}
	if got := pHashOf(p); got != fmt.Sprintf("%016x", want) {
		t.Errorf("got %s, want %016x", got, want)
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
	if got := dHashOf(p); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func hexColor(t *testing.T, hex string) (rgb [3]float64) {
	t.Helper()
	var r, g, b uint8
	if _, err := fmt.Sscanf(hex, "#%02x%02x%02x", &r, &g, &b); err != nil {
		t.Fatal(err)
	}
	return [3]float64{float64(r), float64(g), float64(b)}
}
