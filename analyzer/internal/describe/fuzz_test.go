package describe

import (
	"bytes"
	"encoding/json"
	"errors"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// FuzzDescribe verifies for arbitrary bytes that an image is either described, twice the same and within the
// limits of a message, or fails by its own fault.
func FuzzDescribe(f *testing.F) {
	f.Add(fixture.EncodeJPEG(f, fixture.Photo(24, 16), 70))
	f.Add(fixture.EncodeJPEG(f, fixture.Photo(650, 12), 60))
	f.Add(fixture.EncodePNG(f, fixture.Filled(9, 7, color.NRGBA{1, 2, 3, 100})))
	f.Add(fixture.WithExif(fixture.EncodeJPEG(f, fixture.Photo(16, 24), 70), fixture.TIFF(fixture.FullExif...)))
	f.Add(garbagePNG())
	for _, name := range []string{
		"testdata/video-005.gray.q50.progressive.jpeg", "png/testdata/pngsuite/basn3p04.png", "png/testdata/pngsuite/basn4a16.png",
	} {
		f.Add(fixture.GoTestdata(f, name))
	}
	d := New(Config{PixelBytes: 8 << 20, Limits: imagefile.Limits{MaxPixels: 1 << 16, MaxSide: 1 << 12, MaxScans: 20, MaxWork: 1 << 19}})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, thumbnail, err := d.Describe(t.Context(), data)
		if err != nil {
			var failure *pipeline.Failure
			if !errors.As(err, &failure) || failure.Text == "" {
				t.Fatalf("got %v, want a description or a failure of the image", err)
			}
			return
		}
		checkSchema(t, m)
		first, err := json.Marshal(m)
		if err != nil || len(first) > pipeline.MaxMetadataBytes || len(thumbnail) > pipeline.MaxThumbnailBytes {
			t.Fatalf("%d bytes of metadata, %d of thumbnail, %v", len(first), len(thumbnail), err)
		}
		size, err := jpeg.DecodeConfig(bytes.NewReader(thumbnail))
		if err != nil || size.Width > visual.Size || size.Height > visual.Size || (m.Width > m.Height) != (size.Width > size.Height) && size.Width != size.Height {
			t.Fatalf("thumbnail of %d×%d is %d×%d, %v", m.Width, m.Height, size.Width, size.Height, err)
		}
		if m.Brightness < 0 || m.Brightness > 1 || m.Contrast < 0 || m.Contrast > 0.5 || m.Sharpness < 0 || len(m.BlurHash) != 28 || len(m.PHash) != 16 {
			t.Fatalf("impossible statistics: %s", first)
		}
		m2, thumbnail2, err := d.Describe(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := json.Marshal(m2)
		if !bytes.Equal(first, second) || !bytes.Equal(thumbnail, thumbnail2) {
			t.Fatalf("described differently the second time:\n%s\n%s", first, second)
		}
	})
}
