package describe

import (
	"bytes"
	"errors"
	"image/png"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// bombs generates the hostile files once for all tests.
var bombs = sync.OnceValue(imagetest.All)

// TestAttackBombs describes every hostile file. It verifies that each one ends with the error code that it
// names, and that all its allocations together are at most its pixels and a few times its own bytes.
func TestAttackBombs(t *testing.T) {
	const overhead = 24 << 20
	d := New(Config{})
	for _, b := range bombs() {
		t.Run(b.Name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, thumbnail, err := d.Describe(t.Context(), b.Data)
			runtime.ReadMemStats(&after)

			var f *pipeline.Failure
			switch {
			case err == nil && b.Want != "":
				t.Errorf("completed as %d×%d, want %s", m.Width, m.Height, b.Want)
			case err == nil && len(thumbnail) == 0:
				t.Error("completed without a thumbnail")
			case err != nil && !errors.As(err, &f):
				t.Errorf("got %v, want a failure of the image", err)
			case err != nil && f.Code != b.Want:
				t.Errorf("failed with %v, want %q", err, b.Want)
			}
			bound := uint64(overhead)
			if h, err := imagefile.Read(b.Data, imagefile.Limits{}); err == nil {
				bound += uint64(h.DecodedBytes() + 4*int64(len(b.Data)))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > bound {
				t.Errorf("%d MiB allocated in total, want at most %d", used>>20, bound>>20)
			} else {
				t.Logf("%d kiB allocated in total, bound %d MiB, %v", used>>10, bound>>20, m.Warnings)
			}
		})
	}
}

// TestPNGAsWhole verifies that a PNG that is reduced while it is decoded has the same working copy as the whole
// image after its reduction.
func TestPNGAsWhole(t *testing.T) {
	files := map[string][]byte{"photo": fixture.EncodePNG(t, fixture.Photo(501, 377)), "wide": fixture.EncodePNG(t, fixture.Photo(2000, 3))}
	for _, b := range bombs() {
		files[b.Name] = b.Data
	}
	suite, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/image/png/testdata/pngsuite/*.png")) //nolint:staticcheck // The images are next to the sources of the toolchain that runs the test.
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range suite {
		files[name] = fixture.GoTestdata(t, "png/testdata/pngsuite/"+filepath.Base(name))
	}
	compared := 0
	for name, data := range files {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil || h.Format != imagefile.PNG || h.Width*h.Height > 1<<22 || len(data) > 4<<20 {
			continue
		}
		whole, wholeErr := png.Decode(bytes.NewReader(data))
		got, _, err := decodeTo(visual.Size)(t.Context(), data, h, 1)
		if err != nil && wholeErr == nil {
			t.Errorf("%s: got %v, but image/png accepts the file", name, err)
		}
		if err == nil && wholeErr == nil {
			width, height := scale.Fit(h.Width, h.Height, visual.Size)
			if want := scale.Reduce(whole, width, height, nil); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the working copies differ", name)
			}
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("only %d files were compared", compared)
	}
}
