package describe

import (
	"bytes"
	"encoding/hex"
	"image"
	"image/color"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
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
	halves := fixture.Filled(100, 50, color.White)
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
		{"black", fixture.Filled(40, 30, color.Black), "#000000", 0, 0, []pipeline.ColorShare{{Hex: "#000000", Share: 1}}, "L00000fQfQfQfQfQfQfQfQfQfQfQ", "0000000000000000"},
		{"white", fixture.Filled(40, 30, color.White), "#ffffff", 1, 0, []pipeline.ColorShare{{Hex: "#ffffff", Share: 1}}, "LATSUA_3fQ_3~qj[fQj[fQfQfQfQ", "0000000000000000"},
		{"green", fixture.Filled(500, 400, color.NRGBA{0, 255, 0, 255}), "#00ff00", 0.5882, 0, []pipeline.ColorShare{{Hex: "#00ff00", Share: 1}}, "", "0000000000000000"},
		{"halves", halves, "#808080", 0.5, 0.5, []pipeline.ColorShare{{Hex: "#000000", Share: 0.5}, {Hex: "#ffffff", Share: 0.5}}, "", ""},
		{"a single pixel", fixture.Filled(1, 1, color.NRGBA{10, 20, 30, 255}), "#0a141e", 0.0706, 0, []pipeline.ColorShare{{Hex: "#0a141e", Share: 1}}, "", "0000000000000000"},
		{"invisible", fixture.Filled(20, 20, color.NRGBA{255, 0, 0, 0}), "", 1, 0, nil, "", "0000000000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := describe(t, fixture.EncodePNG(t, c.img))
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

func TestSharpnessFallsWithBlur(t *testing.T) {
	sharp := fixture.Photo(400, 300)
	last := math.Inf(1)
	for _, blur := range []float64{0, 1, 2, 4} {
		img := image.Image(sharp)
		if blur > 0 {
			img = imaging.Blur(sharp, blur)
		}
		m, _ := describe(t, fixture.EncodePNG(t, img))
		if m.Sharpness >= last || m.Sharpness <= 0 {
			t.Errorf("sharpness %v after a blur of %v, want less than %v", m.Sharpness, blur, last)
		}
		last = m.Sharpness
	}
}

// TestBlurHashOfKnownImages compares with the results of github.com/bbrks/go-blurhash for the same images
// scaled to a long side of 64.
func TestBlurHashOfKnownImages(t *testing.T) {
	for name, want := range map[string]string{
		"testdata/video-001.png":      "LbIzbkxtE0RkHXRj-=t7o$t7R4Rj",
		"testdata/video-005.gray.png": "LMGbxH~q%Mj[?bof-;M{xuM{M{WB",
	} {
		if m, _ := describe(t, fixture.GoTestdata(t, name)); m.BlurHash != want {
			t.Errorf("%s: got %s, want %s", name, m.BlurHash, want)
		}
	}
}

func TestPHashOfCopiesAndOtherImages(t *testing.T) {
	original := fixture.Photo(400, 300)
	m, _ := describe(t, fixture.EncodePNG(t, original))
	copies := map[string][]byte{
		"JPEG of quality 90":    fixture.EncodeJPEG(t, original, 90),
		"JPEG of quality 30":    fixture.EncodeJPEG(t, original, 30),
		"half the size":         fixture.EncodeJPEG(t, imaging.Resize(original, 200, 150, imaging.Lanczos), 85),
		"a quarter of the size": fixture.EncodeJPEG(t, imaging.Resize(original, 100, 75, imaging.Linear), 85),
		"twice the size":        fixture.EncodeJPEG(t, imaging.Resize(original, 800, 600, imaging.CatmullRom), 75),
		"a little brighter":     fixture.EncodeJPEG(t, imaging.AdjustBrightness(original, 8), 85),
	}
	for name, data := range copies {
		if got, _ := describe(t, data); hamming(t, got.PHash, m.PHash) > 6 {
			t.Errorf("%s: %d bits differ", name, hamming(t, got.PHash, m.PHash))
		}
	}
	others := map[string][]byte{
		"mirrored":      fixture.EncodePNG(t, imaging.FlipH(original)),
		"upside down":   fixture.EncodePNG(t, imaging.FlipV(original)),
		"another image": fixture.GoTestdata(t, "testdata/video-001.png"),
		"a third image": fixture.GoTestdata(t, "testdata/video-005.gray.png"),
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
		_, small := describe(t, fixture.EncodePNG(t, fixture.Filled(c.width, c.height, color.NRGBA{40, 90, 200, 255})))
		if got := small.Bounds().Size(); got != image.Pt(c.wantWidth, c.wantHeight) {
			t.Errorf("%d×%d: thumbnail is %v, want %d×%d", c.width, c.height, got, c.wantWidth, c.wantHeight)
		}
	}
}

func TestThumbnailOfNoiseFits(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, visual.Size, visual.Size))
	r := rand.New(rand.NewPCG(5, 6))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32()) | 1
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	data := fixture.EncodePNG(t, m)
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
	m := fixture.Filled(400, 400, color.NRGBA{0, 0, 0, 0})
	for y := range 400 {
		for x := range 200 {
			m.SetNRGBA(x, y, color.NRGBA{0, 0, 200, 128})
		}
	}
	_, small := describe(t, fixture.EncodePNG(t, m))
	for x, want := range map[int]color.RGBA{40: {127, 127, 227, 255}, 280: {255, 255, 255, 255}} {
		r, g, b, _ := small.At(x, 100).RGBA()
		if abs(int(r>>8)-int(want.R)) > 4 || abs(int(g>>8)-int(want.G)) > 4 || abs(int(b>>8)-int(want.B)) > 4 {
			t.Errorf("pixel at %d is %d,%d,%d, want %v", x, r>>8, g>>8, b>>8, want)
		}
	}
	jpg := fixture.WithExif(fixture.EncodeJPEG(t, fixture.Photo(400, 300), 80), fixture.TIFF(fixture.Tag(fixture.DirImage, 0x010f, tiff.ASCII, []byte("Secretmaker\x00"))))
	_, thumbnail, err := New(Config{}).Describe(t.Context(), jpg)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(thumbnail, []byte("Exif")) || bytes.Contains(thumbnail, []byte("Secretmaker")) {
		t.Error("the thumbnail contains EXIF")
	}
}
