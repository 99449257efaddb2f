package describe

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func rgb(t testing.TB, s string) [3]byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "#"))
	if err != nil || len(b) != 3 {
		t.Fatalf("%q is not a color", s)
	}
	return [3]byte(b)
}

// colorDistance returns the largest difference of a channel.
func colorDistance(t testing.TB, a, b string) int {
	t.Helper()
	most := 0
	x, y := rgb(t, a), rgb(t, b)
	for c := range x {
		most = max(most, abs(int(x[c])-int(y[c])))
	}
	return most
}

func hamming(t testing.TB, a, b string) int {
	t.Helper()
	x, errX := strconv.ParseUint(a, 16, 64)
	y, errY := strconv.ParseUint(b, 16, 64)
	if errX != nil || errY != nil || len(a) != 16 || len(b) != 16 {
		t.Fatalf("%q or %q is not a hash", a, b)
	}
	return bits.OnesCount64(x ^ y)
}

func TestStatisticsOfPlainImages(t *testing.T) {
	halves := filled(100, 50, color.White)
	for y := range 50 {
		for x := range 50 {
			halves.Set(x, y, color.Black)
		}
	}
	for _, c := range []struct {
		name                 string
		img                  image.Image
		mean                 string
		brightness, contrast float64
		colors               []pipeline.ColorShare
		blurHash, pHash      string
	}{
		{"black", filled(40, 30, color.Black), "#000000", 0, 0, []pipeline.ColorShare{{Hex: "#000000", Share: 1}}, "L00000fQfQfQfQfQfQfQfQfQfQfQ", "0000000000000000"},
		{"white", filled(40, 30, color.White), "#ffffff", 1, 0, []pipeline.ColorShare{{Hex: "#ffffff", Share: 1}}, "LATSUA_3fQ_3~qj[fQj[fQfQfQfQ", "0000000000000000"},
		{"green", filled(500, 400, color.NRGBA{0, 255, 0, 255}), "#00ff00", 0.5882, 0, []pipeline.ColorShare{{Hex: "#00ff00", Share: 1}}, "", "0000000000000000"},
		{"halves", halves, "#808080", 0.5, 0.5, []pipeline.ColorShare{{Hex: "#000000", Share: 0.5}, {Hex: "#ffffff", Share: 0.5}}, "", ""},
		{"a single pixel", filled(1, 1, color.NRGBA{10, 20, 30, 255}), "#0a141e", 0.0706, 0, []pipeline.ColorShare{{Hex: "#0a141e", Share: 1}}, "", "0000000000000000"},
		{"invisible", filled(20, 20, color.NRGBA{255, 0, 0, 0}), "", 1, 0, nil, "", "0000000000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := describe(t, encodePNG(t, c.img))
			if m.MeanColor != c.mean || m.Brightness != c.brightness || m.Contrast != c.contrast {
				t.Errorf("mean %s brightness %v contrast %v, want %s %v %v", m.MeanColor, m.Brightness, m.Contrast, c.mean, c.brightness, c.contrast)
			}
			if len(m.Colors) != len(c.colors) {
				t.Fatalf("colors %v, want %v", m.Colors, c.colors)
			}
			for i := range c.colors {
				if m.Colors[i].Hex != c.colors[i].Hex || m.Colors[i].Share != c.colors[i].Share {
					t.Errorf("colors %v, want %v", m.Colors, c.colors)
				}
			}
			if c.blurHash != "" && m.BlurHash != c.blurHash {
				t.Errorf("BlurHash %s, want %s", m.BlurHash, c.blurHash)
			}
			if c.pHash != "" && m.PHash != c.pHash {
				t.Errorf("pHash %s, want %s", m.PHash, c.pHash)
			}
		})
	}
}

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
				noise := func(v uint8) uint8 { return level(float64(v) + 10*(r.Float64()-0.5)) }
				m.SetNRGBA(x, y, color.NRGBA{noise(s.c.R), noise(s.c.G), noise(s.c.B), s.c.A})
				x++
			}
		}
	}
	got := measure(m, onWhite(m)).palette(newColorNames())
	if len(got) != 5 {
		t.Fatalf("%d colors: %v", len(got), got)
	}
	for i, c := range got {
		want := cluster{1, int(stripes[i].c.R), int(stripes[i].c.G), int(stripes[i].c.B)}.hex()
		if d := colorDistance(t, c.Hex, want); d > 2 {
			t.Errorf("color %d is %s, want %s", i, c.Hex, want)
		}
		if share := float64(stripes[i].width) / 270; !near(c.Share, share, 0.0001) {
			t.Errorf("share of color %d is %v, want %.4f", i, c.Share, share)
		}
	}
}

func TestSharpnessFallsWithBlur(t *testing.T) {
	sharp := photo(400, 300)
	last := math.Inf(1)
	for _, blur := range []float64{0, 1, 2, 4} {
		img := image.Image(sharp)
		if blur > 0 {
			img = imaging.Blur(sharp, blur)
		}
		m, _ := describe(t, encodePNG(t, img))
		if m.Sharpness >= last || m.Sharpness <= 0 {
			t.Errorf("sharpness %v after a blur of %v, want less than %v", m.Sharpness, blur, last)
		}
		last = m.Sharpness
	}
}

func TestSharpnessOfAKnownImage(t *testing.T) {
	// One white pixel on black in the middle of 5×5: the Laplacian of the inner 3×3 is -4·255 once and 255 four
	// times.
	p := plane{pix: make([]byte, 25), width: 5, height: 5}
	p.pix[12] = 255
	mean := 0.0
	squares := (16.0 + 4) * 255 * 255
	if got, want := sharpness(p), round(squares/9-mean*mean, 2); got != want {
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
		m := photo(size[0], size[1])
		straight := reduce(m, size[0], size[1])
		if got, want := blurHash(m), referenceBlurHash(straight); got != want {
			t.Errorf("%v: got %s, want %s", size, got, want)
		}
	}
}

// TestBlurHashOfKnownImages compares with the results of github.com/bbrks/go-blurhash for the same images
// scaled to a long side of 64.
func TestBlurHashOfKnownImages(t *testing.T) {
	for name, want := range map[string]string{
		"testdata/video-001.png":      "LbIzbkxtE0RkHXRj-=t7o$t7R4Rj",
		"testdata/video-005.gray.png": "LMGbxH~q%Mj[?bof-;M{xuM{M{WB",
	} {
		if m, _ := describe(t, goTestdata(t, name)); m.BlurHash != want {
			t.Errorf("%s: got %s, want %s", name, m.BlurHash, want)
		}
	}
}

// TestPHashMatchesTheDefinition computes the hash directly from the definition of the cosine transform
// (DCT-II), in floating point.
func TestPHashMatchesTheDefinition(t *testing.T) {
	m := photo(32, 32)
	p := measure((*image.NRGBA)(m), m).light
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
	if got := pHash(p); got != fmt.Sprintf("%016x", want) {
		t.Errorf("got %s, want %016x", got, want)
	}
}

func TestPHashOfCopiesAndOtherImages(t *testing.T) {
	original := photo(400, 300)
	m, _ := describe(t, encodePNG(t, original))
	copies := map[string][]byte{
		"JPEG of quality 90":    encodeJPEG(t, original, 90),
		"JPEG of quality 30":    encodeJPEG(t, original, 30),
		"half the size":         encodeJPEG(t, imaging.Resize(original, 200, 150, imaging.Lanczos), 85),
		"a quarter of the size": encodeJPEG(t, imaging.Resize(original, 100, 75, imaging.Linear), 85),
		"twice the size":        encodeJPEG(t, imaging.Resize(original, 800, 600, imaging.CatmullRom), 75),
		"a little brighter":     encodeJPEG(t, imaging.AdjustBrightness(original, 8), 85),
	}
	for name, data := range copies {
		if got, _ := describe(t, data); hamming(t, got.PHash, m.PHash) > 6 {
			t.Errorf("%s: %d bits differ", name, hamming(t, got.PHash, m.PHash))
		}
	}
	others := map[string][]byte{
		"mirrored":      encodePNG(t, imaging.FlipH(original)),
		"upside down":   encodePNG(t, imaging.FlipV(original)),
		"another image": goTestdata(t, "testdata/video-001.png"),
		"a third image": goTestdata(t, "testdata/video-005.gray.png"),
	}
	for name, data := range others {
		if got, _ := describe(t, data); hamming(t, got.PHash, m.PHash) < 16 {
			t.Errorf("%s: only %d bits differ", name, hamming(t, got.PHash, m.PHash))
		}
	}
}

func TestThumbnail(t *testing.T) {
	for _, c := range []struct{ width, height, wantWidth, wantHeight int }{
		{640, 480, 320, 240}, {480, 640, 240, 320}, {320, 200, 320, 200}, {100, 60, 100, 60}, {3000, 2, 320, 1}, {1, 1, 1, 1},
	} {
		_, small := describe(t, encodePNG(t, filled(c.width, c.height, color.NRGBA{40, 90, 200, 255})))
		if got := small.Bounds().Size(); got != image.Pt(c.wantWidth, c.wantHeight) {
			t.Errorf("%d×%d: thumbnail is %v, want %d×%d", c.width, c.height, got, c.wantWidth, c.wantHeight)
		}
	}
}

func TestThumbnailOfNoiseFits(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, WorkingSize, WorkingSize))
	r := rand.New(rand.NewPCG(5, 6))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32()) | 1
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	data := encodePNG(t, m)
	_, thumbnail, err := New(Config{}).Describe(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if len(thumbnail) > pipeline.MaxThumbnailBytes {
		t.Errorf("%d bytes", len(thumbnail))
	}
	// The quality is not unnecessarily low either.
	if len(thumbnail) < pipeline.MaxThumbnailBytes/3 {
		t.Errorf("only %d bytes of %d are used", len(thumbnail), pipeline.MaxThumbnailBytes)
	}
}

func TestThumbnailShowsTransparencyAsWhiteAndHasNoEXIF(t *testing.T) {
	m := filled(400, 400, color.NRGBA{0, 0, 0, 0})
	for y := range 400 {
		for x := range 200 {
			m.SetNRGBA(x, y, color.NRGBA{0, 0, 200, 128})
		}
	}
	_, small := describe(t, encodePNG(t, m))
	for x, want := range map[int]color.RGBA{40: {127, 127, 227, 255}, 280: {255, 255, 255, 255}} {
		r, g, b, _ := small.At(x, 100).RGBA()
		if abs(int(r>>8)-int(want.R)) > 4 || abs(int(g>>8)-int(want.G)) > 4 || abs(int(b>>8)-int(want.B)) > 4 {
			t.Errorf("pixel at %d is %d,%d,%d, want %v", x, r>>8, g>>8, b>>8, want)
		}
	}
	jpg := withExif(encodeJPEG(t, photo(400, 300), 80), tiffOf(entry{dirImage, 0x010f, tiffASCII, []byte("Secretmaker\x00")}))
	_, thumbnail, err := New(Config{}).Describe(t.Context(), jpg)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(thumbnail, []byte("Exif")) || bytes.Contains(thumbnail, []byte("Secretmaker")) {
		t.Error("the thumbnail contains EXIF")
	}
}
