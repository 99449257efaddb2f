package describe

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/bits"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestCopiesAreSimilar verifies on photographs from many cameras that a copy of half the size,
// of low quality, or brighter has nearly the same hash, and that the hashes of all others are
// far apart. The gateway's search for similar images uses these distances.
func TestCopiesAreSimilar(t *testing.T) {
	const similar, unrelated = 10, 20 // bits
	copies := map[string]func(image.Image) []byte{
		"half size": func(m image.Image) []byte {
			return fixture.EncodeJPEG(t, imaging.Resize(m, m.Bounds().Dx()/2, 0, imaging.CatmullRom), 85)
		},
		"quality 30": func(m image.Image) []byte { return fixture.EncodeJPEG(t, m, 30) },
		"20 % brighter": func(m image.Image) []byte {
			level := func(v uint8) uint8 { return fixture.Level(float64(v) * 1.2) }
			return fixture.EncodeJPEG(t, imaging.AdjustFunc(m, func(c color.NRGBA) color.NRGBA {
				return color.NRGBA{R: level(c.R), G: level(c.G), B: level(c.B), A: c.A}
			}), 85)
		},
	}
	type photograph struct {
		name string
		hash uint64
	}
	var all []photograph
	worst := map[string]int{}
	files := fixture.CameraFiles(t)
	for name, found := range cameraRecords(t) {
		h, ok := pipeline.AppearanceOf(found).Hash()
		m, err := jpeg.Decode(bytes.NewReader(files[name]))
		if !ok || err != nil || found.Orientation != 1 || found.Width < 100 || found.Width*found.Height > 4<<20 {
			continue
		}
		all = append(all, photograph{name, h})
		for kind, change := range copies {
			m, _, err := New(Config{}).Describe(t.Context(), change(m))
			if err != nil {
				t.Fatal(err)
			}
			changed, ok := pipeline.AppearanceOf(m).Hash()
			d := bits.OnesCount64(h ^ changed)
			if worst[kind] = max(worst[kind], d); !ok || d > similar {
				t.Errorf("%s, %s: distance %d, want at most %d", name, kind, d, similar)
			}
		}
	}
	nearest := 64
	for i, a := range all {
		for _, b := range all[:i] {
			if relatedPhotographs(a.name, b.name) {
				continue
			}
			d := bits.OnesCount64(a.hash ^ b.hash)
			if nearest = min(nearest, d); d < unrelated {
				t.Errorf("%s and %s: distance %d, want at least %d", a.name, b.name, d, unrelated)
			}
		}
	}
	if len(all) < 30 {
		t.Errorf("got only %d photographs", len(all))
	}
	t.Logf("%d photographs: the largest distances of copies are %v, the smallest one of others is %d", len(all), worst, nearest)
}

// relatedPhotographs reports whether two files of the corpus show the same photograph.
func relatedPhotographs(a, b string) bool {
	for _, names := range [][]string{
		{"withIptcExifGps", "withExifAndIptc"},
		{"withIptcPhotoshop6", "withIptc"},
		{"withXmp", "withTypicalHuffman"},
		{"metadata_demo_exif_only", "metadata_demo_iim_and_xmp_only", "metadata_demo_inc_exif_out_of_sync_Inc_adobe"},
		{"hugo-issue-8996"},
	} {
		base := func(name string) string { return strings.TrimSuffix(path.Base(name), ".jpg") }
		if slices.Contains(names, base(a)) && slices.Contains(names, base(b)) {
			return true
		}
	}
	return false
}
