package visual

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestSmallThumbnails verifies that the thumbnail of a small image has the color of each pixel, and that a long strip of
// noise fits into the limit of a thumbnail.
func TestSmallThumbnails(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {2, 2}, {3, 5}, {8, 8}, {17, 9}, {31, 31}, {31, 100}, {31, 320}, {320, 1}} {
		m := image.NewNRGBA(image.Rect(0, 0, size[0], size[1]))
		r := rand.New(rand.NewPCG(1, 2))
		for i := range m.Pix {
			m.Pix[i] = 255 * byte(r.IntN(2)) // the strongest contrasts of color
			if i%4 == 3 {
				m.Pix[i] = 255
			}
		}
		thumbnail, err := NewCopy(m, nil).Thumbnail()
		if err != nil || len(thumbnail) > pipeline.MaxThumbnailBytes {
			t.Fatalf("%v: %d bytes, %v", size, len(thumbnail), err)
		}
		got, err := jpeg.Decode(bytes.NewReader(thumbnail))
		if err != nil {
			t.Fatalf("%v: %v", size, err)
		}
		if full, ok := got.(*image.YCbCr); !ok || full.SubsampleRatio != image.YCbCrSubsampleRatio444 || full.Rect != m.Rect {
			t.Fatalf("%v: %T %v", size, got, got.Bounds())
		}
		most := 0
		for y := range size[1] {
			for x := range size[0] {
				r, g, b, _ := got.At(x, y).RGBA()
				want := m.NRGBAAt(x, y)
				for _, d := range [...]int{int(r>>8) - int(want.R), int(g>>8) - int(want.G), int(b>>8) - int(want.B)} {
					most = max(most, d, -d)
				}
			}
		}
		if long := max(size[0], size[1]); most > 12 && long < 200 {
			t.Errorf("%v: a sample differs by %d levels", size, most)
		}
	}
}
