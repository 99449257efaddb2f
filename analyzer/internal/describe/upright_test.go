package describe

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestUpright verifies the size, the orientation and the colors of the image that a vision model gets.
func TestUpright(t *testing.T) {
	half := image.NewNRGBA(image.Rect(0, 0, 1600, 800)) // left half red, right half blue
	for y := range 800 {
		for x := range 1600 {
			c := color.NRGBA{R: 255, A: 255}
			if x >= 800 {
				c = color.NRGBA{B: 255, A: 255}
			}
			half.SetNRGBA(x, y, c)
		}
	}
	plain := fixture.EncodeJPEG(t, half, 95)
	turned := fixture.WithExif(plain, fixture.TIFF(fixture.Tag(fixture.DirImage, 0x0112, tiff.Short, fixture.Short(6))))
	d := New(Config{})
	for name, c := range map[string]struct {
		data        []byte
		side        int
		want        image.Point
		first, last color.NRGBA // about the colors of the first and the last pixel
	}{
		"JPEG":         {plain, 768, image.Pt(768, 384), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
		"JPEG by 1/2":  {plain, 800, image.Pt(800, 400), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
		"small":        {plain, 64, image.Pt(64, 32), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
		"not enlarged": {plain, 4096, image.Pt(1600, 800), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
		"turned":       {turned, 768, image.Pt(384, 768), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
		"PNG":          {fixture.EncodePNG(t, half), 768, image.Pt(768, 384), color.NRGBA{R: 255, A: 255}, color.NRGBA{B: 255, A: 255}},
	} {
		m, err := d.Upright(t.Context(), c.data, c.side)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Rect.Size() != c.want || !alike(m.NRGBAAt(0, 0), c.first) || !alike(m.NRGBAAt(c.want.X-1, c.want.Y-1), c.last) {
			t.Errorf("%s: %v from %v to %v, want %v from %v to %v", name, m.Rect.Size(), m.NRGBAAt(0, 0), m.NRGBAAt(c.want.X-1, c.want.Y-1), c.want, c.first, c.last)
		}
	}
	_, err := d.Upright(t.Context(), []byte("not an image"), 768)
	if _, ok := errors.AsType[*pipeline.Failure](err); !ok {
		t.Errorf("error %v, want a failure of the image", err)
	}
}

// TestUprightConvertsColors verifies that the colors are those in sRGB, as in the working copy.
func TestUprightConvertsColors(t *testing.T) {
	data, err := os.ReadFile("testdata/adobe-rgb.jpg")
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{})
	m, err := d.Upright(t.Context(), data, 320)
	if err != nil {
		t.Fatal(err)
	}
	record, _, err := d.Describe(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	var r, g, b, n int
	for i := 0; i < len(m.Pix); i += 4 {
		r, g, b, n = r+int(m.Pix[i]), g+int(m.Pix[i+1]), b+int(m.Pix[i+2]), n+1
	}
	mean := color.NRGBA{uint8(r / n), uint8(g / n), uint8(b / n), 255}
	var want color.NRGBA
	if _, err := fmt.Sscanf(record.MeanColor, "#%02x%02x%02x", &want.R, &want.G, &want.B); err != nil {
		t.Fatal(err)
	}
	if want.A = 255; !alike(mean, want) {
		t.Errorf("mean color %v, want %v as in the record", mean, want)
	}
}

func alike(a, b color.NRGBA) bool {
	off := func(x, y uint8) bool { return int(x)-int(y) > 3 || int(y)-int(x) > 3 }
	return !off(a.R, b.R) && !off(a.G, b.G) && !off(a.B, b.B) && a.A == b.A
}
