package visual

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

// TestHalfColorMatchesTheStandardLibrary verifies that thumbnails have the bytes that image/jpeg writes.
func TestHalfColorMatchesTheStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(m *image.RGBA, levels int) {
		for i := range m.Pix {
			m.Pix[i] = byte(r.IntN(levels) * 255 / (levels - 1))
		}
	}
	for _, size := range [][2]int{{1, 1}, {2, 3}, {15, 17}, {16, 16}, {33, 40}, {97, 64}, {320, 240}, {240, 319}} {
		for _, quality := range []int{1, 10, 28, 46, 62, 74, 82, 95, 100} {
			for kind := range 4 {
				m := fixture.Photo(size[0], size[1])
				if kind > 0 {
					noise(m, [...]int{2, 5, 256}[kind-1])
				}
				var want bytes.Buffer
				if err := jpeg.Encode(&want, m, &jpeg.Options{Quality: quality}); err != nil {
					t.Fatal(err)
				}
				got, err := halfColor(m, quality)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want.Bytes()) {
					t.Fatalf("%v, quality %d, kind %d: %d bytes differ from %d", size, quality, kind, len(got), want.Len())
				}
			}
		}
	}
}
