package describe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestDescribeReturnsFileProperties(t *testing.T) {
	data := fixture.EncodeJPEG(t, fixture.Photo(800, 600), 90)
	m, small := describe(t, data)
	if m.AnalyzerVersion != Version || m.Format != "jpeg" || m.Width != 800 || m.Height != 600 || m.Orientation != 1 ||
		m.BitDepth != 8 || m.ColorModel != "ycbcr" || m.HasAlpha || m.FileSize != int64(len(data)) || len(m.SHA256) != 64 {
		t.Errorf("facts: %+v", m)
	}
	if m.Exif != nil || m.Warnings != nil {
		t.Errorf("EXIF %+v and warnings %q of a file without EXIF", m.Exif, m.Warnings)
	}
	if got := small.Bounds().Size(); got != image.Pt(320, 240) {
		t.Errorf("thumbnail has size %v", got)
	}
}

func TestDescribeReadsEveryKindOfFile(t *testing.T) {
	for name, want := range map[string]struct {
		model string
		depth int
		alpha bool
	}{
		"testdata/video-001.progressive.jpeg":     {"ycbcr", 8, false},
		"testdata/video-001.q50.410.jpeg":         {"ycbcr", 8, false},
		"testdata/video-001.q50.440.jpeg":         {"ycbcr", 8, false},
		"testdata/video-001.rgb.jpeg":             {"rgb", 8, false},
		"testdata/video-001.cmyk.jpeg":            {"cmyk", 8, false},
		"testdata/video-005.gray.jpeg":            {"gray", 8, false},
		"testdata/video-001.png":                  {"rgb", 8, false},
		"png/testdata/pngsuite/basn0g01.png":      {"gray", 1, false},
		"png/testdata/pngsuite/basn0g16.png":      {"gray", 16, false},
		"png/testdata/pngsuite/basn2c16.png":      {"rgb", 16, false},
		"png/testdata/pngsuite/basn3p08-trns.png": {"palette", 8, true},
		"png/testdata/pngsuite/basn4a16.png":      {"gray", 16, true},
		"png/testdata/pngsuite/basn6a16.png":      {"rgb", 16, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, small := describe(t, fixture.GoTestdata(t, name))
			if m.ColorModel != want.model || m.BitDepth != want.depth || m.HasAlpha != want.alpha {
				t.Errorf("got %s, %d bits, alpha %v; want %+v", m.ColorModel, m.BitDepth, m.HasAlpha, want)
			}
			// Small images keep their size.
			if got := small.Bounds().Size(); got != image.Pt(m.Width, m.Height) {
				t.Errorf("thumbnail is %v of %d×%d", got, m.Width, m.Height)
			}
		})
	}
}

// TestDescribeSeesTheSameImageInEveryFile compares the descriptions of one image in different files: only the
// encodings differ, so the statistics must agree.
func TestDescribeSeesTheSameImageInEveryFile(t *testing.T) {
	for name, reference := range map[string]string{
		"video-001.jpeg": "video-001.png", "video-001.progressive.jpeg": "video-001.png",
		"video-001.q50.420.jpeg": "video-001.png", "video-001.rgb.jpeg": "video-001.png",
		"video-001.cmyk.jpeg": "video-001.cmyk.png", // printed in other colors
	} {
		t.Run(name, func(t *testing.T) {
			want, _ := describe(t, fixture.GoTestdata(t, "testdata/"+reference))
			got, _ := describe(t, fixture.GoTestdata(t, "testdata/"+name))
			if d := colorDistance(t, got.MeanColor, want.MeanColor); d > 4 {
				t.Errorf("mean color %s, want %s", got.MeanColor, want.MeanColor)
			}
			if near(got.Brightness, want.Brightness, 0.01) && near(got.Contrast, want.Contrast, 0.01) {
				return
			}
			t.Errorf("brightness %v contrast %v, want %v and %v", got.Brightness, got.Contrast, want.Brightness, want.Contrast)
		})
	}
}

func near(a, b, tolerance float64) bool { return a-b <= tolerance && b-a <= tolerance }

func TestDescribeIsTheSameEveryTime(t *testing.T) {
	d := New(Config{PixelBytes: 4 << 20})
	for _, data := range [][]byte{
		fixture.EncodeJPEG(t, fixture.Photo(700, 200), 80),
		fixture.EncodePNG(t, fixture.Photo(400, 100)),
		fixture.GoTestdata(t, "png/testdata/pngsuite/basn6a16.png"),
	} {
		var first []byte
		var mu sync.Mutex
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				m, thumbnail, err := d.Describe(t.Context(), data)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := json.Marshal(pipeline.Analysis{Metadata: m, Thumbnail: thumbnail})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = got
				}
				if !bytes.Equal(got, first) {
					t.Errorf("the descriptions of one image differ:\n%.300s\n%.300s", got, first)
				}
			})
		}
		group.Wait()
	}
}

func TestDescribeAppliesEveryOrientation(t *testing.T) {
	// The corners of the image as it is displayed: red, green / blue, white.
	const width, height = 384, 256
	displayed := image.NewNRGBA(image.Rect(0, 0, width, height))
	corners := [4]color.NRGBA{{230, 20, 20, 255}, {20, 230, 20, 255}, {20, 20, 230, 255}, {240, 240, 240, 255}}
	for y := range height {
		for x := range width {
			displayed.SetNRGBA(x, y, corners[y/(height/2)*2+x/(width/2)])
		}
	}
	// stored[o] returns the position in the file of the displayed pixel x, y of a w×h image, from the table of
	// the EXIF standard: which edges row 0 and column 0 are.
	stored := map[int]func(x, y, w, h int) (int, int){
		1: func(x, y, _, _ int) (int, int) { return x, y },
		2: func(x, y, w, _ int) (int, int) { return w - 1 - x, y },
		3: func(x, y, w, h int) (int, int) { return w - 1 - x, h - 1 - y },
		4: func(x, y, _, h int) (int, int) { return x, h - 1 - y },
		5: func(x, y, _, _ int) (int, int) { return y, x },
		6: func(x, y, w, _ int) (int, int) { return y, w - 1 - x },
		7: func(x, y, w, h int) (int, int) { return h - 1 - y, w - 1 - x },
		8: func(x, y, _, h int) (int, int) { return h - 1 - y, x },
	}
	upright, _ := describe(t, fixture.EncodeJPEG(t, displayed, 95))
	for orientation := 1; orientation <= 8; orientation++ {
		size := image.Pt(width, height)
		if orientation >= 5 {
			size = image.Pt(height, width)
		}
		file := image.NewNRGBA(image.Rectangle{Max: size})
		for y := range height {
			for x := range width {
				sx, sy := stored[orientation](x, y, width, height)
				file.SetNRGBA(sx, sy, displayed.NRGBAAt(x, y))
			}
		}
		m, small := describe(t, fixture.WithExif(fixture.EncodeJPEG(t, file, 95), fixture.TIFF(fixture.Tag(fixture.DirImage, 0x0112, tiff.Short, fixture.Short(orientation)))))
		if m.Width != width || m.Height != height || m.Orientation != orientation {
			t.Errorf("orientation %d: %d×%d, orientation %d", orientation, m.Width, m.Height, m.Orientation)
		}
		if small.Bounds().Size() != image.Pt(320, 213) {
			t.Errorf("orientation %d: thumbnail is %v", orientation, small.Bounds())
		}
		for i, want := range corners {
			r, g, b, _ := small.At(40+240*(i%2), 30+150*(i/2)).RGBA()
			got := [3]int{int(r >> 8), int(g >> 8), int(b >> 8)}
			for c, w := range [3]uint8{want.R, want.G, want.B} {
				if abs(got[c]-int(w)) > 12 {
					t.Errorf("orientation %d: corner %d of the thumbnail is %v, want %v", orientation, i, got, want)
					break
				}
			}
		}
		if m.BlurHash[:6] != upright.BlurHash[:6] || hamming(t, m.PHash, upright.PHash) > 6 {
			t.Errorf("orientation %d: hashes %s %s, upright %s %s", orientation, m.BlurHash, m.PHash, upright.BlurHash, upright.PHash)
		}
	}
}

func abs(n int) int { return max(n, -n) }

func TestDescribeRefusesFaultyImages(t *testing.T) {
	jpg, pngFile := fixture.EncodeJPEG(t, fixture.Photo(200, 100), 80), fixture.EncodePNG(t, fixture.Photo(200, 100))
	cut := append(bytes.Clone(jpg[:len(jpg)-600]), 0xff, 0xd9)
	for _, c := range []struct {
		name string
		data []byte
		code string
		text string
	}{
		{"text", []byte("text"), pipeline.CodeNotAnImage, "Not an image"},
		{"JPEG that is cut short", jpg[:len(jpg)/2], pipeline.CodeDamaged, "Damaged JPEG: ends before its end-of-image marker"},
		{"JPEG that is cut short and closed again", cut, pipeline.CodeDamaged, "Damaged JPEG: its pixels cannot be decoded"},
		{"PNG that is cut short", pngFile[:len(pngFile)-1], pipeline.CodeDamaged, "Damaged PNG: ends before its IEND chunk"},
		{"PNG of garbage with a right checksum", garbagePNG(), pipeline.CodeDamaged, "Damaged PNG: its pixels cannot be decoded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, thumbnail, err := New(Config{}).Describe(t.Context(), c.data)
			var f *pipeline.Failure
			if !errors.As(err, &f) || f.Code != c.code || f.Text != c.text {
				t.Errorf("got %v, want %s %q", err, c.code, c.text)
			}
			if m.Format != "" || thumbnail != nil {
				t.Errorf("got a description in addition to the error: %+v", m)
			}
		})
	}
}

func TestDescribeKeepsItsLimits(t *testing.T) {
	d := New(Config{Limits: imagefile.Limits{MaxPixels: 1000}})
	var f *pipeline.Failure
	if _, _, err := d.Describe(t.Context(), fixture.EncodeJPEG(t, fixture.Photo(40, 30), 80)); !errors.As(err, &f) || f.Code != pipeline.CodeTooManyPixels {
		t.Errorf("got %v, want too_many_pixels", err)
	}
}

func TestDecoderPanicIsAnOrdinaryError(t *testing.T) {
	d := New(Config{PixelBytes: 1})
	d.decode = func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error) {
		panic("index out of range")
	}
	data := fixture.EncodeJPEG(t, fixture.Photo(40, 30), 80)
	for range 3 { // the budget is released each time
		_, _, err := d.Describe(t.Context(), data)
		var f *pipeline.Failure
		if err == nil || errors.As(err, &f) || !strings.Contains(err.Error(), "panic: index out of range") {
			t.Fatalf("got %v, want an error that contains the panic", err)
		}
	}
}

func TestDecoderThatDisagreesWithTheHeader(t *testing.T) {
	d := New(Config{})
	d.decode = func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error) {
		return fixture.Photo(41, 30), scaledjpeg.Full, nil
	}
	var f *pipeline.Failure
	if _, _, err := d.Describe(t.Context(), fixture.EncodeJPEG(t, fixture.Photo(40, 30), 80)); !errors.As(err, &f) || f.Code != pipeline.CodeDamaged {
		t.Errorf("got %v, want damaged_image", err)
	}
}

// TestPixelsAreFreedWithTheirShare verifies that the pixels of a large image no longer use memory when the next
// image is decoded.
func TestPixelsAreFreedWithTheirShare(t *testing.T) {
	data := fixture.EncodePNG(t, fixture.Photo(400, 40))
	d := New(Config{PixelBytes: 1})
	var before []weak.Pointer[image.RGBA]
	d.decode = func(_ context.Context, _ []byte, h imagefile.Header, _ int) (image.Image, scaledjpeg.Checked, error) {
		for _, p := range before {
			if p.Value() != nil {
				t.Error("the pixels of a described image are still referenced")
			}
		}
		img := fixture.Photo(h.Width, h.Height)
		before = append(before, weak.Make(img))
		return img, scaledjpeg.Full, nil
	}
	for range 3 {
		if _, _, err := d.Describe(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPixelsStayWithinTheBudget counts the images that are decoded concurrently.
func TestPixelsStayWithinTheBudget(t *testing.T) {
	deep := image.NewNRGBA64(image.Rect(0, 0, 64, 64))
	deep.SetNRGBA64(1, 1, color.NRGBA64{1, 2, 3, 4})
	data := fixture.EncodePNG(t, deep)
	h, err := imagefile.Read(data, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	each := decodedBytes(h, 1, visual.Size)
	for _, c := range []struct {
		name   string
		budget int64
		want   int64 // decoded concurrently
	}{
		{"three fit", 3*each + each/2, 3},
		{"one needs more than there is", each / 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := New(Config{PixelBytes: c.budget})
				var atOnce, most atomic.Int64
				release := make(chan struct{})
				decode := d.decode
				d.decode = func(ctx context.Context, data []byte, h imagefile.Header, scale int) (image.Image, scaledjpeg.Checked, error) {
					most.Store(max(most.Load(), atOnce.Add(1)))
					defer atOnce.Add(-1)
					<-release
					return decode(ctx, data, h, scale)
				}
				var group sync.WaitGroup
				for range 8 {
					group.Go(func() {
						if _, _, err := d.Describe(t.Context(), data); err != nil {
							t.Error(err)
						}
					})
				}
				// Once all goroutines block, those that may decode are decoding, and the others wait.
				synctest.Wait()
				if got := atOnce.Load(); got != c.want {
					t.Errorf("%d decode concurrently, want %d", got, c.want)
				}
				close(release)
				group.Wait()
				if got := most.Load(); got > c.want {
					t.Errorf("up to %d decoded concurrently, want %d", got, c.want)
				}
			})
		})
	}
}

func TestDescribeEndsWithItsContext(t *testing.T) {
	data := fixture.EncodeJPEG(t, fixture.Photo(40, 30), 80)
	t.Run("while it decodes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := New(Config{})
		decode := d.decode
		d.decode = func(ctx context.Context, data []byte, h imagefile.Header, scale int) (image.Image, scaledjpeg.Checked, error) {
			cancel()
			return decode(ctx, data, h, scale)
		}
		checkCancelled(t, d, ctx, data)
	})
	t.Run("while it waits for memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			d := New(Config{PixelBytes: 100})
			if !d.pixels.TryAcquire(100) {
				t.Fatal("the new budget is already in use")
			}
			var group sync.WaitGroup
			group.Go(func() { checkCancelled(t, d, ctx, data) })
			synctest.Wait()
			cancel()
			group.Wait()
		})
	})
}

func checkCancelled(t *testing.T, d *Describer, ctx context.Context, data []byte) { //nolint:revive // A test comes before its context.
	t.Helper()
	_, _, err := d.Describe(ctx, data)
	var f *pipeline.Failure
	if !errors.Is(err, context.Canceled) || errors.As(err, &f) {
		t.Errorf("got %v, want the context's error and no failure of the image", err)
	}
}
