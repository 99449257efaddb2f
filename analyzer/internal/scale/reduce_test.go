package scale

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

// converted returns the image in every memory layout that a decoder produces, and in some that use the general
// code.
func converted(m *image.RGBA) map[string]draw.Image {
	b := m.Bounds()
	palette := make(color.Palette, 0, 256)
	for i := range 256 {
		palette = append(palette, color.RGBA{uint8(i >> 5 * 36), uint8(i >> 2 & 7 * 36), uint8(i & 3 * 85), 255})
	}
	out := map[string]draw.Image{
		"RGBA": image.NewRGBA(b), "NRGBA": image.NewNRGBA(b), "RGBA64": image.NewRGBA64(b), "NRGBA64": image.NewNRGBA64(b),
		"Gray": image.NewGray(b), "Gray16": image.NewGray16(b), "CMYK": image.NewCMYK(b), "Paletted": image.NewPaletted(b, palette),
	}
	for _, dst := range out {
		draw.Draw(dst, b, m, b.Min, draw.Src)
	}
	return out
}

// meanOf is the reference: the mean of the area of one pixel of the small image, sample by sample with their
// covered fractions, directly from the definition.
func meanOf(m image.Image, x, y, width, height int) (r, g, b, a float64) {
	w, h := float64(m.Bounds().Dx()), float64(m.Bounds().Dy())
	left, right := float64(x)*w/float64(width), float64(x+1)*w/float64(width)
	top, bottom := float64(y)*h/float64(height), float64(y+1)*h/float64(height)
	area := 0.0
	for sy := int(top); float64(sy) < bottom; sy++ {
		for sx := int(left); float64(sx) < right; sx++ {
			part := (min(float64(sx+1), right) - max(float64(sx), left)) * (min(float64(sy+1), bottom) - max(float64(sy), top))
			if part <= 0 {
				continue
			}
			cr, cg, cb, ca := m.At(m.Bounds().Min.X+sx, m.Bounds().Min.Y+sy).RGBA()
			r, g, b, a = r+part*float64(cr), g+part*float64(cg), b+part*float64(cb), a+part*float64(ca)
			area += part
		}
	}
	// From here on, premultiplied means of 16 bits become straight ones of 8.
	if a == 0 {
		return 0, 0, 0, 0
	}
	return r / a * 255, g / a * 255, b / a * 255, a / area / 257
}

func checkMeans(t *testing.T, src image.Image, width, height int, tolerance float64) {
	t.Helper()
	got := Reduce(src, width, height, nil)
	if got.Bounds() != image.Rect(0, 0, width, height) {
		t.Fatalf("bounds %v", got.Bounds())
	}
	for y := range height {
		for x := range width {
			r, g, b, a := meanOf(src, x, y, width, height)
			c := got.NRGBAAt(x, y)
			for i, d := range [4]float64{r - float64(c.R), g - float64(c.G), b - float64(c.B), a - float64(c.A)} {
				if math.Abs(d) > tolerance {
					t.Fatalf("%d×%d: channel %d of pixel %d,%d is %v, want %.1f %.1f %.1f %.1f", width, height, i, x, y, c, r, g, b, a)
				}
			}
		}
	}
}

func TestReduceReturnsTheMeanOfTheArea(t *testing.T) {
	for name, src := range converted(fixture.Photo(101, 67)) {
		t.Run(name, func(t *testing.T) {
			for _, size := range [][2]int{{101, 67}, {100, 66}, {64, 42}, {40, 27}, {33, 22}, {20, 13}, {7, 5}, {3, 2}, {1, 1}, {32, 80}, {202, 90}} {
				checkMeans(t, src, size[0], size[1], 1.5)
			}
		})
	}
}

func TestReduceOfMoreRowsThanAWordCanSum(t *testing.T) {
	for _, height := range []int{256, 257, 258, 700} {
		m := fixture.Filled(9, height, color.NRGBA{255, 254, 253, 255})
		if got := Reduce(m, 1, 1, nil).NRGBAAt(0, 0); got != (color.NRGBA{255, 254, 253, 255}) {
			t.Errorf("%d rows: %v", height, got)
		}
	}
}

func TestReduceYCbCrOfEverySubsampling(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		t.Run(ratio.String(), func(t *testing.T) {
			// A left and a right half, and an odd size whose last samples extend beyond it.
			for _, size := range [][2]int{{97, 65}, {320, 167}} {
				src := image.NewYCbCr(image.Rect(0, 0, size[0], size[1]), ratio)
				for y := range size[1] {
					for x := range size[0] {
						src.Y[src.YOffset(x, y)] = uint8(40 + 100*x/size[0])
						c := src.COffset(x, y)
						src.Cb[c], src.Cr[c] = uint8(90+50*y/size[1]), uint8(160-40*x/size[0])
					}
				}
				for _, to := range [][2]int{{97, 65}, {48, 31}, {20, 10}} {
					checkMeans(t, src, to[0], to[1], 2.5)
				}
			}
		})
	}
}

func TestReduceWeightsColorsByTheirAlpha(t *testing.T) {
	// Half is opaque red, half invisible green: the visible color is red.
	m := image.NewNRGBA(image.Rect(0, 0, 80, 80))
	for y := range 80 {
		for x := range 80 {
			c := color.NRGBA{255, 0, 0, 255}
			if x%2 == 1 {
				c = color.NRGBA{0, 255, 0, 0}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	for _, n := range []int{40, 20, 10} {
		if got := Reduce(m, n, n, nil).NRGBAAt(n/2, n/2); got != (color.NRGBA{255, 0, 0, 128}) {
			t.Errorf("to %d: %v, want half transparent red", n, got)
		}
	}
}

func TestReduceThinAndTinyImages(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 1}, {1, 3000}, {20000, 1}, {20000, 3}, {3, 5000}, {319, 321}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			width, height := Fit(size[0], size[1], 320)
			if width < 1 || height < 1 || max(width, height) > 320 {
				t.Fatalf("fits into %d×%d", width, height)
			}
			got := Reduce(fixture.Filled(size[0], size[1], color.NRGBA{10, 200, 30, 255}), width, height, nil)
			want := bytes.Repeat([]byte{10, 200, 30, 255}, width*height)
			if !bytes.Equal(got.Pix, want) {
				t.Error("a uniform surface does not stay uniform")
			}
		})
	}
}

func TestReduceOfASubImage(t *testing.T) {
	whole := fixture.Photo(60, 60)
	part := image.Rect(20, 10, 50, 40)
	yuv := image.NewYCbCr(whole.Rect, image.YCbCrSubsampleRatio420)
	for y := range 60 {
		for x := range 60 {
			c := whole.RGBAAt(x, y)
			yuv.Y[yuv.YOffset(x, y)], yuv.Cb[yuv.COffset(x, y)], yuv.Cr[yuv.COffset(x, y)] = color.RGBToYCbCr(c.R, c.G, c.B)
		}
	}
	checkMeans(t, yuv.SubImage(part), 15, 15, 1.5)
	for name, m := range converted(whole) {
		sub := m.(interface {
			SubImage(image.Rectangle) image.Image
		}).SubImage(part)
		t.Run(name, func(t *testing.T) { checkMeans(t, sub, 15, 15, 1.5) })
	}
}

// TestReduceAveragesInks verifies that a conversion of inks gets their means, at both kinds of scaling, and that
// its result is what is returned.
func TestReduceAveragesInks(t *testing.T) {
	m := image.NewCMYK(image.Rect(0, 0, 64, 48))
	for i := range m.Pix {
		m.Pix[i] = [...]byte{0, 100, 255, 40, 200, 100, 0, 60}[i%8] // in columns of two colors
	}
	inks := func(pix []byte) {
		for i := 0; i < len(pix); i += 4 {
			got := [4]byte(pix[i:])
			for c, want := range [...]int{100, 100, 128, 50} {
				if d := int(got[c]) - want; d < -1 || d > 1 {
					t.Fatalf("inks %v", got)
				}
			}
			copy(pix[i:], []byte{1, 2, 3, 255})
		}
	}
	want := fixture.Filled(32, 24, color.NRGBA{1, 2, 3, 255})
	if got := Reduce(m, 32, 24, inks); !bytes.Equal(got.Pix, want.Pix) {
		t.Error("the means are not converted")
	}
	m = image.NewCMYK(image.Rect(0, 0, 33, 25))
	copy(m.Pix, bytes.Repeat([]byte{100, 100, 128, 50}, 33*25))
	if got := ReduceScaled(m, 32, 24, inks); !bytes.Equal(got.Pix, want.Pix) {
		t.Error("the means of a scaled image are not converted")
	}
}
