package describe

import (
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/disintegration/imaging"
)

// cameraJPEG returns a JPEG with a camera's EXIF.
func cameraJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	return withExif(encodeJPEG(t, m, 90), tiffOf(fullExif...))
}

// screen draws the content of a screen: surfaces, bars and lines of text.
func screen(width, height int) *image.NRGBA {
	m := filled(width, height, color.NRGBA{246, 246, 248, 255})
	fill := func(x0, y0, x1, y1 int, c color.NRGBA) {
		draw.Draw(m, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Src)
	}
	fill(0, 0, width, height/12, color.NRGBA{24, 90, 200, 255})
	r := rand.New(rand.NewPCG(7, 8))
	for y := height / 8; y < height-height/30; y += height / 24 {
		fill(width/16, y, width/16+width/4+r.IntN(width/2), y+height/80, color.NRGBA{30, 30, 34, 255})
	}
	return m
}

// toned returns the image in shades of a single color.
func toned(m image.Image, tone func(luma float64) color.NRGBA) *image.NRGBA {
	out := image.NewNRGBA(m.Bounds())
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			out.SetNRGBA(x, y, tone(float64(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y)))
		}
	}
	return out
}

func sepia(l float64) color.NRGBA {
	return color.NRGBA{level(1.2 * l), level(1.02 * l), level(0.8 * l), 255}
}

// TestFlags verifies the flags of images of each kind, and of images that are easily mistaken for them.
func TestFlags(t *testing.T) {
	scene := photo(640, 480)
	// adjusted changes the levels of the scene.
	adjusted := func(factor, offset float64) *image.NRGBA {
		return imaging.AdjustFunc(scene, func(c color.NRGBA) color.NRGBA {
			return color.NRGBA{level(float64(c.R)*factor + offset), level(float64(c.G)*factor + offset), level(float64(c.B)*factor + offset), c.A}
		})
	}
	gradient := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			gradient.SetNRGBA(x, y, color.NRGBA{level(float64(y) / 2), level(float64(y) / 2), level(80 + float64(y)/3), 255})
		}
	}
	paper := filled(640, 480, color.White)
	draw.Draw(paper, image.Rect(200, 150, 420, 330), scene, image.Pt(200, 150), draw.Src)
	comment := entry{dirExif, 0x9286, tiffUndefined, []byte("ASCII\x00\x00\x00Screenshot")}
	dust := filled(640, 480, color.White)
	draw.Draw(dust, image.Rect(300, 200, 330, 230), image.Black, image.Point{}, draw.Src)
	night := imaging.AdjustFunc(adjusted(0.15, 0), func(c color.NRGBA) color.NRGBA { return c })
	draw.Draw(night, image.Rect(300, 100, 340, 130), image.White, image.Point{}, draw.Src)

	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"a photo", cameraJPEG(t, scene), nil},
		{"photo without EXIF", encodeJPEG(t, scene, 90), nil},

		{"a phone's screen", encodePNG(t, screen(1170, 2532)), []string{"screenshot"}},
		{"rotated phone's screen", encodePNG(t, screen(2532, 1170)), []string{"screenshot"}},
		{"screenshot by its comment", withExif(encodeJPEG(t, screen(900, 500), 90), tiffOf(comment)), []string{"screenshot"}},
		{"screenshot by its program", withPNGChunk(encodePNG(t, screen(900, 500)), "tEXt", "Software\x00gnome-screenshot"), []string{"screenshot"}},
		{"a slide", encodePNG(t, screen(1920, 1080)), nil},
		{"a photo of the size of a screen", encodePNG(t, imaging.Resize(scene, 1170, 2532, imaging.Linear)), nil},

		{"white", encodePNG(t, filled(640, 480, color.White)), []string{"blank", "greyscale"}},
		{"blue", encodeJPEG(t, filled(640, 480, color.NRGBA{20, 60, 180, 255}), 90), []string{"blank", "monochrome"}},
		{"invisible", encodePNG(t, filled(640, 480, color.NRGBA{9, 9, 9, 0})), []string{"blank"}},
		{"white with a spot", encodePNG(t, dust), []string{"greyscale"}},

		{"out of focus", cameraJPEG(t, imaging.Blur(scene, 14)), []string{"blurred"}},
		{"slightly soft", cameraJPEG(t, imaging.Blur(scene, 1.2)), nil},
		{"drawn gradient of one color", encodePNG(t, gradient), []string{"monochrome"}},

		{"by night", cameraJPEG(t, night), []string{"dark"}},
		{"dim", cameraJPEG(t, adjusted(0.5, 0)), nil},

		{"overexposed", cameraJPEG(t, adjusted(1.5, 110)), []string{"overexposed"}},
		{"something on white paper", cameraJPEG(t, paper), nil},
		{"a bright drawing", encodePNG(t, adjusted(1.5, 110)), nil},

		{"gray", encodeJPEG(t, imaging.Grayscale(scene), 90), []string{"greyscale"}},
		{"gray as color in low quality", encodeJPEG(t, toned(scene, func(l float64) color.NRGBA { return color.NRGBA{level(l), level(l), level(l), 255} }), 30), []string{"greyscale"}},
		{"sepia", encodeJPEG(t, toned(scene, sepia), 85), []string{"monochrome"}},
		{"cyanotype", encodeJPEG(t, toned(scene, func(l float64) color.NRGBA {
			return color.NRGBA{level(l * l / 255), level(0.4*l + 0.6*l*l/255), level(60 + 0.75*l), 255}
		}), 85), []string{"monochrome"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := describe(t, c.data)
			if !slices.Equal(m.Flags, c.want) {
				t.Errorf("got %q, want %q (brightness %v, contrast %v, sharpness %v, clipped %v and %v, entropy %v)",
					m.Flags, c.want, m.Brightness, m.Contrast, m.Sharpness, m.ShadowsClipped, m.HighlightsClipped, m.Entropy)
			}
		})
	}
}

// TestFlagsOfRealImages verifies that of the images of many cameras only these have flags, as a person who
// looks at them would assign them.
func TestFlagsOfRealImages(t *testing.T) {
	want := map[string][]string{
		"utf8-in-ztxt.png": {"blank", "greyscale"},
	}
	for name, data := range cameraFiles(t) {
		m, _, err := New(Config{}).Describe(t.Context(), data)
		// Icons and black-and-white glyphs are ambiguous.
		if err != nil || max(m.Width, m.Height) < 100 {
			continue
		}
		if !slices.Equal(m.Flags, want[name]) {
			t.Errorf("%s: %q, want %q", name, m.Flags, want[name])
		}
	}
}
