package describe

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
)

// cameraJPEG returns a JPEG with a camera's EXIF.
func cameraJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	return fixture.WithExif(fixture.EncodeJPEG(t, m, 90), fixture.TIFF(fixture.FullExif...))
}

// screen draws the content of a screen: surfaces, bars and lines of text.
func screen(width, height int) *image.NRGBA {
	m := fixture.Filled(width, height, color.NRGBA{246, 246, 248, 255})
	fill := func(x0, y0, x1, y1 int, c color.NRGBA) {
		row := bytes.Repeat([]byte{c.R, c.G, c.B, c.A}, x1-x0)
		for y := y0; y < y1; y++ {
			copy(m.Pix[m.PixOffset(x0, y):], row)
		}
	}
	fill(0, 0, width, height/12, color.NRGBA{24, 90, 200, 255})
	r := rand.New(rand.NewPCG(7, 8))
	for y := height / 8; y < height-height/30; y += height / 24 {
		fill(width/16, y, width/16+width/4+r.IntN(width/2), y+height/80, color.NRGBA{30, 30, 34, 255})
	}
	return m
}

// toned returns the image in shades of a single color.
func toned(m *image.RGBA, tone func(luma float64) color.NRGBA) *image.NRGBA {
	var tones [256]color.NRGBA
	for l := range tones {
		tones[l] = tone(float64(l))
	}
	out := image.NewNRGBA(m.Rect)
	for i := 0; i < len(m.Pix); i += 4 {
		luma, _, _ := color.RGBToYCbCr(m.Pix[i], m.Pix[i+1], m.Pix[i+2])
		c := tones[luma]
		copy(out.Pix[i:i+4], []byte{c.R, c.G, c.B, c.A})
	}
	return out
}

func sepia(l float64) color.NRGBA {
	return color.NRGBA{fixture.Level(1.2 * l), fixture.Level(1.02 * l), fixture.Level(0.8 * l), 255}
}

// translucent returns an image with one degree of transparency.
func translucent(m *image.RGBA, alpha uint8) *image.NRGBA {
	out := image.NewNRGBA(m.Rect)
	copy(out.Pix, m.Pix)
	for i := 3; i < len(out.Pix); i += 4 {
		out.Pix[i] = alpha
	}
	return out
}

// halves returns an image whose left and right half have different colors.
func halves(left, right color.NRGBA) *image.NRGBA {
	m := fixture.Filled(400, 300, left)
	draw.Draw(m, image.Rect(200, 0, 400, 300), image.NewUniform(right), image.Point{}, draw.Src)
	return m
}

// marked returns an image of one color with a small mark, which is not blank.
func marked(c color.NRGBA) *image.NRGBA {
	m := fixture.Filled(400, 300, c)
	draw.Draw(m, image.Rect(180, 120, 200, 140), image.White, image.Point{}, draw.Src)
	return m
}

// TestFlags verifies the flags of images of each kind, and of images that are easily mistaken for them.
func TestFlags(t *testing.T) {
	scene := fixture.Photo(400, 300)
	// adjusted changes the levels of the scene.
	adjusted := func(factor, offset float64) *image.NRGBA {
		out := (*image.NRGBA)(fixture.Photo(scene.Rect.Dx(), scene.Rect.Dy()))
		for i := range out.Pix {
			if i%4 < 3 {
				out.Pix[i] = fixture.Level(float64(out.Pix[i])*factor + offset)
			}
		}
		return out
	}
	gradient := image.NewNRGBA(scene.Rect)
	for y := range scene.Rect.Dy() {
		for x := range scene.Rect.Dx() {
			gradient.SetNRGBA(x, y, color.NRGBA{fixture.Level(float64(y) / 1.25), fixture.Level(float64(y) / 1.25), fixture.Level(80 + float64(y)/2), 255})
		}
	}
	paper := fixture.Filled(400, 300, color.White)
	draw.Draw(paper, image.Rect(125, 94, 262, 206), scene, image.Pt(125, 94), draw.Src)
	comment := fixture.Tag(fixture.DirExif, 0x9286, tiff.Undefined, []byte("ASCII\x00\x00\x00Screenshot"))
	dust := fixture.Filled(400, 300, color.White)
	draw.Draw(dust, image.Rect(188, 125, 207, 144), image.Black, image.Point{}, draw.Src)
	night := adjusted(0.15, 0)
	draw.Draw(night, image.Rect(188, 62, 213, 81), image.White, image.Point{}, draw.Src)
	bright := adjusted(1.5, 110)
	large := fixture.Photo(640, 480)
	// A blur of 14 in the size of the large one.
	unfocused := imaging.Resize(imaging.Blur(fixture.Photo(160, 120), 3.5), 640, 480, imaging.Linear)

	for _, c := range []struct {
		name string
		data []byte
		want []string
	}{
		{"a photo", cameraJPEG(t, large), nil},
		{"photo without EXIF", fixture.EncodeJPEG(t, scene, 90), nil},

		{"a phone's screen", fixture.EncodePNG(t, screen(1170, 2532)), []string{"screenshot"}},
		{"rotated phone's screen", fixture.EncodePNG(t, screen(1334, 750)), []string{"screenshot"}},
		{"screenshot by its comment", fixture.WithExif(fixture.EncodeJPEG(t, screen(600, 400), 90), fixture.TIFF(comment)), []string{"screenshot"}},
		{"screenshot by its program", fixture.WithPNGChunk(fixture.EncodePNG(t, screen(600, 400)), "tEXt", "Software\x00gnome-screenshot"), []string{"screenshot"}},
		{"a slide", fixture.EncodePNG(t, screen(1280, 720)), nil},
		{"a photo of the size of a screen", fixture.EncodePNG(t, imaging.Resize(scene, 750, 1334, imaging.Linear)), nil},

		{"white", fixture.EncodePNG(t, fixture.Filled(400, 300, color.White)), []string{"blank", "greyscale"}},
		{"blue", fixture.EncodeJPEG(t, fixture.Filled(400, 300, color.NRGBA{20, 60, 180, 255}), 90), []string{"blank", "monochrome"}},
		{"invisible", fixture.EncodePNG(t, fixture.Filled(400, 300, color.NRGBA{9, 9, 9, 0})), []string{"blank"}},
		{"one translucent color", fixture.EncodePNG(t, fixture.Filled(400, 300, color.NRGBA{20, 60, 180, 40})), []string{"blank"}},
		{"translucent photo", fixture.EncodePNG(t, translucent(scene, 100)), nil},
		{"faint photo", fixture.EncodePNG(t, translucent(scene, 40)), nil},
		{"translucent, in colors of equal luma", fixture.EncodePNG(t, halves(color.NRGBA{255, 0, 0, 90}, color.NRGBA{0, 130, 0, 90})), nil},
		{"white shape", fixture.EncodePNG(t, halves(color.NRGBA{255, 255, 255, 255}, color.NRGBA{})), []string{"greyscale"}},
		{"white with a spot", fixture.EncodePNG(t, dust), []string{"greyscale"}},

		{"out of focus", cameraJPEG(t, unfocused), []string{"blurred"}},
		{"slightly soft", cameraJPEG(t, imaging.Blur(large, 1.2)), nil},
		{"drawn gradient of one color", fixture.EncodePNG(t, gradient), []string{"monochrome"}},

		{"by night", cameraJPEG(t, night), []string{"dark"}},
		{"pure blue with a mark", fixture.EncodePNG(t, marked(color.NRGBA{0, 0, 255, 255})), []string{"monochrome"}},
		{"bright blue as JPEG", fixture.EncodeJPEG(t, marked(color.NRGBA{0, 10, 230, 255}), 90), []string{"monochrome"}},
		{"nearly black with a mark", fixture.EncodePNG(t, marked(color.NRGBA{12, 10, 16, 255})), []string{"dark", "greyscale"}},
		{"dim", cameraJPEG(t, adjusted(0.5, 0)), nil},

		{"overexposed", cameraJPEG(t, bright), []string{"overexposed"}},
		{"something on white paper", cameraJPEG(t, paper), nil},
		{"a bright drawing", fixture.EncodePNG(t, bright), nil},

		{"gray", fixture.EncodeJPEG(t, imaging.Grayscale(scene), 90), []string{"greyscale"}},
		{"gray as color in low quality", fixture.EncodeJPEG(t, toned(scene, func(l float64) color.NRGBA {
			return color.NRGBA{fixture.Level(l), fixture.Level(l), fixture.Level(l), 255}
		}), 30), []string{"greyscale"}},
		{"sepia", fixture.EncodeJPEG(t, toned(scene, sepia), 85), []string{"monochrome"}},
		{"cyanotype", fixture.EncodeJPEG(t, toned(scene, func(l float64) color.NRGBA {
			return color.NRGBA{fixture.Level(l * l / 255), fixture.Level(0.4*l + 0.6*l*l/255), fixture.Level(60 + 0.75*l), 255}
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
		"utf8-in-ztxt.png": {"greyscale"}, // a white shape on a transparent background
	}
	for name, m := range cameraRecords(t) {
		// Icons and black-and-white glyphs are ambiguous.
		if max(m.Width, m.Height) < 100 {
			continue
		}
		if !slices.Equal(m.Flags, want[name]) {
			t.Errorf("%s: %q, want %q", name, m.Flags, want[name])
		}
	}
}
