package describe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

func TestDecodeScale(t *testing.T) {
	for _, c := range []struct {
		h    imagefile.Header
		want int
	}{
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 4000, Height: 3000}, 8},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 1, Height: 4000}, 8},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 2553, Height: 100}, 8}, // 319.1, rounded up
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 2552, Height: 100}, 4},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 1277, Height: 1277}, 4},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 1276, Height: 1276}, 2},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 639, Height: 1}, 2},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 638, Height: 638}, 1},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 1, Height: 1}, 1},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 4000, Height: 3000, ColorModel: imagefile.CMYK}, 8},
		{imagefile.Header{Layout: imagefile.Layout{Format: imagefile.PNG}, Width: 4000, Height: 3000}, 1},
	} {
		if got := decodeScale(c.h, visual.Size); got != c.want {
			t.Errorf("%+v: 1/%d, want 1/%d", c.h, got, c.want)
		}
	}
}

// TestDescribeSeesTheSameImageAtEveryScale compares the descriptions of JPEGs of sizes that are decoded at
// each scale with those of the same images as PNG.
func TestDescribeSeesTheSameImageAtEveryScale(t *testing.T) {
	for _, size := range []struct{ width, height, scale int }{{401, 303, 1}, {701, 333, 2}, {1301, 401, 4}, {303, 2603, 8}} {
		t.Run(fmt.Sprintf("1 of %d", size.scale), func(t *testing.T) {
			img := fixture.Photo(size.width, size.height)
			want, wantSmall := describe(t, fixture.EncodePNG(t, img))
			got, gotSmall := describe(t, fixture.EncodeJPEG(t, img, 92))
			if decodeScale(imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: size.width, Height: size.height}, visual.Size) != size.scale {
				t.Fatal("the size is decoded at another scale")
			}
			if got.Width != size.width || got.Height != size.height || gotSmall.Bounds() != wantSmall.Bounds() {
				t.Errorf("%d×%d, thumbnail of %v", got.Width, got.Height, gotSmall.Bounds())
			}
			if colorDistance(t, got.MeanColor, want.MeanColor) > 1 || !near(got.Brightness, want.Brightness, 0.002) || !near(got.Contrast, want.Contrast, 0.002) {
				t.Errorf("mean color, brightness and contrast are %s %v %v, want %s %v %v",
					got.MeanColor, got.Brightness, got.Contrast, want.MeanColor, want.Brightness, want.Contrast)
			}
			if !near(got.Sharpness/want.Sharpness, 1, 0.2) {
				t.Errorf("sharpness %v, want about %v", got.Sharpness, want.Sharpness)
			}
			if hamming(t, got.PHash, want.PHash) > 2 {
				t.Errorf("hashes %s and %s", got.PHash, want.PHash)
			}
			differences := 0
			for y := range wantSmall.Bounds().Dy() {
				for x := range wantSmall.Bounds().Dx() {
					a, b := color.NRGBAModel.Convert(gotSmall.At(x, y)).(color.NRGBA), color.NRGBAModel.Convert(wantSmall.At(x, y)).(color.NRGBA)
					differences += abs(int(a.R)-int(b.R)) + abs(int(a.G)-int(b.G)) + abs(int(a.B)-int(b.B))
				}
			}
			if mean := float64(differences) / float64(3*wantSmall.Bounds().Dx()*wantSmall.Bounds().Dy()); mean > 3 {
				t.Errorf("the samples of the thumbnail differ by %.2f", mean)
			}
		})
	}
}

// TestDamageFailsAtEveryScale cuts the data of images short and appends the end marker again.
func TestDamageFailsAtEveryScale(t *testing.T) {
	for _, width := range []int{500, 700, 1500, 2600} {
		data := fixture.EncodeJPEG(t, fixture.Photo(width, 64), 85)
		damaged := append(bytes.Clone(data[:len(data)*3/4]), 0xff, 0xd9)
		_, _, err := New(Config{}).Describe(t.Context(), damaged)
		var f *pipeline.Failure
		if !errors.As(err, &f) || f.Code != pipeline.CodeDamaged || f.Text != "Damaged JPEG: its pixels cannot be decoded" {
			t.Errorf("%d pixels wide: %v", width, err)
		}
	}
}

// TestMissingEndMarker verifies that a complete JPEG without its end-of-image marker gets a warning, at every
// scale, and that one that lacks data fails.
func TestMissingEndMarker(t *testing.T) {
	const warning = "no end-of-image marker after the image"
	for _, width := range []int{500, 700, 1500, 2600} {
		data := fixture.EncodeJPEG(t, fixture.Photo(width, 64), 85)
		for name, tail := range map[string]string{"nothing": "", "a trailer": "\x00\x00SEFT", "another image": "\xff\xd8\xff\xe0"} {
			m, _ := describe(t, append(bytes.Clone(data[:len(data)-2]), tail...))
			if !slices.Contains(m.Warnings, warning) {
				t.Errorf("%d pixels wide, %s: warnings are %q", width, name, m.Warnings)
			}
		}
		if m, _ := describe(t, data); slices.Contains(m.Warnings, warning) {
			t.Errorf("%d pixels wide: warnings are %q", width, m.Warnings)
		}
		var f *pipeline.Failure
		_, _, err := New(Config{}).Describe(t.Context(), data[:len(data)-100])
		if !errors.As(err, &f) || f.Code != pipeline.CodeDamaged || f.Text != "Damaged JPEG: ends before its end-of-image marker" {
			t.Errorf("%d pixels wide, cut: %v", width, err)
		}
	}
}

// TestCMYKWithoutAdobe verifies that the inks are read as in the same file with Adobe's segment.
func TestCMYKWithoutAdobe(t *testing.T) {
	data := fixture.GoTestdata(t, "testdata/video-001.cmyk.jpeg")
	at := bytes.Index(data, []byte("\xff\xee\x00\x0eAdobe"))
	if at < 0 || data[at+15] != 0 {
		t.Skip("the test image has changed")
	}
	want, _ := describe(t, data)
	got, _ := describe(t, slices.Concat(data[:at], data[at+16:]))
	if got.MeanColor != want.MeanColor || got.ColorModel != "cmyk" || got.PHash != want.PHash {
		t.Errorf("%s %s, want %s", got.ColorModel, got.MeanColor, want.MeanColor)
	}
}

// TestPixelsAreChargedAtTheirScale counts how many large JPEGs are decoded concurrently in the memory that one
// needs at full size.
func TestPixelsAreChargedAtTheirScale(t *testing.T) {
	data := fixture.EncodeJPEG(t, image.NewGray(image.Rect(0, 0, 2600, 1950)), 70)
	h, err := imagefile.Read(data, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := h.DecodedBytes() / (h.DecodedBytes()/64 + 128<<10)
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{PixelBytes: h.DecodedBytes()})
		var atOnce atomic.Int64
		release := make(chan struct{})
		decoded := sync.OnceValues(func() (image.Image, error) { // the result is the same each time
			img, _, err := d.decode(t.Context(), data, h, decodeScale(h, visual.Size))
			return img, err
		})
		if _, err := decoded(); err != nil {
			t.Fatal(err)
		}
		d.decode = func(context.Context, []byte, imagefile.Header, int) (image.Image, scaledjpeg.Checked, error) {
			atOnce.Add(1)
			<-release
			img, err := decoded()
			return img, scaledjpeg.Full, err
		}
		var group sync.WaitGroup
		for range want + 2 {
			group.Go(func() {
				if _, _, err := d.Describe(t.Context(), data); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got := atOnce.Load(); got != want || want < 20 {
			t.Errorf("%d decode concurrently, want %d, at least 20", got, want)
		}
		close(release)
		group.Wait()
	})
}

func TestScaledDecodingEndsWithItsContext(t *testing.T) {
	data := fixture.EncodeJPEG(t, fixture.Photo(700, 64), 80)
	ctx, cancel := context.WithCancel(t.Context())
	d := New(Config{})
	decode := d.decode
	d.decode = func(ctx context.Context, data []byte, h imagefile.Header, scale int) (image.Image, scaledjpeg.Checked, error) {
		cancel()
		return decode(ctx, data, h, scale)
	}
	checkCancelled(t, d, ctx, data)
}

func TestDescribeReportsEntropyChecked(t *testing.T) {
	for name, want := range map[string]string{
		"testdata/video-001.progressive.jpeg": "full", "testdata/video-001.jpeg": "full", "testdata/video-001.png": "full",
		"testdata/video-001.cmyk.jpeg": "full",
	} {
		if m, _ := describe(t, fixture.GoTestdata(t, name)); m.EntropyChecked != want {
			t.Errorf("%s: %q", name, m.EntropyChecked)
		}
	}
	for width, want := range map[int]string{600: "full", 1000: "full", 2000: "full", 2600: "partial"} {
		img := fixture.Photo(width, 64)
		for _, options := range [][]string{nil, {"-restart", "1B"}} {
			data := progressive(t, img, options...)
			if m, _ := describe(t, data); m.EntropyChecked != want {
				t.Errorf("progressive, %d pixels wide, %v: %q, want %s", width, options, m.EntropyChecked, want)
			}
		}
	}
}

// progressive encodes an image with cjpeg of libjpeg-turbo, because image/jpeg writes no progressive files.
func progressive(t testing.TB, m *image.RGBA, options ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("cjpeg"); err != nil {
		t.Skip("cjpeg is not installed (deployments/local/install.sh docs)")
	}
	in := fmt.Appendf(nil, "P6\n%d %d\n255\n", m.Rect.Dx(), m.Rect.Dy())
	for i := 0; i < len(m.Pix); i += 4 {
		in = append(in, m.Pix[i:i+3]...)
	}
	cmd := exec.CommandContext(t.Context(), "cjpeg", append(options, "-progressive")...)
	cmd.Stdin = bytes.NewReader(in)
	data, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.DecodeConfig(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestWaitForMemoryIsBounded verifies that an image stops waiting while there is time to decode another, that
// an image without a deadline keeps waiting, and that the wait is measured.
func TestWaitForMemoryIsBounded(t *testing.T) {
	data := fixture.EncodePNG(t, fixture.Photo(340, 40))
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.NewRegistry()
		d := New(Config{PixelBytes: 1, Metrics: m}) // one image at a time
		decode, release := d.decode, make(chan struct{})
		d.decode = func(ctx context.Context, data []byte, h imagefile.Header, scale int) (image.Image, scaledjpeg.Checked, error) {
			<-release
			return decode(ctx, data, h, scale)
		}
		var group sync.WaitGroup
		patient := func() {
			if _, _, err := d.Describe(t.Context(), data); err != nil {
				t.Error(err)
			}
		}
		group.Go(patient)
		synctest.Wait()
		group.Go(patient)
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			started := time.Now()
			_, _, err := d.Describe(ctx, data)
			if took := time.Since(started); !errors.Is(err, ErrNoRoom) || took != 20*time.Second {
				t.Errorf("after %s: %v", took, err)
			}
		})
		time.Sleep(time.Minute)
		close(release)
		group.Wait()
		telemetrytest.Expect(t, m, `decode_wait_seconds_count 3`, `decode_wait_seconds_sum 80`, `decoded_pixel_bytes 0`, `decoded_pixel_bytes_limit 1`)
	})
}
