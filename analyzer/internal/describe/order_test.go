package describe

import (
	"context"
	"image"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestRefusedImagesAreNeverDecoded verifies that the whole structure is checked before a decoder sees the first
// byte: the decoder would allocate the memory that the header of a bomb specifies, even if the image failed
// later.
func TestRefusedImagesAreNeverDecoded(t *testing.T) {
	whole := fixture.EncodeJPEG(t, fixture.Photo(40, 30), 80)
	for name, data := range map[string][]byte{
		"too many pixels": fixture.EncodePNG(t, fixture.Photo(400, 300)),
		"cut short":       whole[:len(whole)/2],
		"not an image":    []byte("<html><body>404</body></html>"),
	} {
		t.Run(name, func(t *testing.T) {
			d := New(Config{Limits: imagefile.Limits{MaxPixels: 10_000}})
			d.decode = func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error) {
				t.Error("the decoder was called")
				return fixture.Photo(40, 30), scaledjpeg.Full, nil
			}
			if _, _, err := d.Describe(t.Context(), data); err == nil {
				t.Error("got a description, want an error")
			}
		})
	}
}
