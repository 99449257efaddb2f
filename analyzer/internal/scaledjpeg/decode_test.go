package scaledjpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

var samplings = [...]string{"1x1", "2x1", "2x2", "1x2", "4x1", "4x2"}

// kinds are the encodings that a decoder must support.
var kinds = [...]string{
	"", "-optimize", "-restart 1B", "-restart 3B -optimize", "-restart 1", "-grayscale", "-grayscale -restart 5B",
	"-progressive", "-progressive -restart 2B", "-progressive -restart 1", "-progressive -grayscale", "-quality 100", "-quality 3",
}

// scripts divide the three components into scans in other ways than cjpeg's own. All are complete: djpeg
// estimates missing coefficients.
var scripts = map[string]string{
	"one component each": "0; 1; 2;",
	"two and one":        "0; 1,2;",
	"DC refined thrice":  "0,1,2: 0-0, 0, 3; 0,1,2: 0-0, 3, 2; 0,1,2: 0-0, 2, 1; 0,1,2: 0-0, 1, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;",
	"DC apart":           "0: 0-0, 0, 1; 2: 0-0, 0, 0; 1: 0-0, 0, 1; 0: 0-0, 1, 0; 1: 0-0, 1, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;",
	"narrow bands, refined together": "0,1,2: 0-0, 0, 0; 0: 1-2, 0, 2; 0: 3-9, 0, 2; 0: 10-30, 0, 2; 0: 31-63, 0, 2; " +
		"0: 1-20, 2, 1; 0: 21-63, 2, 1; 0: 1-63, 1, 0; 1: 1-1, 0, 0; 1: 2-63, 0, 1; 1: 2-63, 1, 0; 2: 1-63, 0, 0;",
}

// TestLumaAtAnEighthMatchesLibjpeg compares bit for bit, with every length of both sides from 1 to 40.
func TestLumaAtAnEighthMatchesLibjpeg(t *testing.T) {
	libjpeg(t)
	for n := 1; n <= 40; n++ {
		m := ppm(photo(n, 41-n))
		for i, sampling := range samplings {
			args := fmt.Sprintf("-sample %s %s", sampling, kinds[(n+7*i)%len(kinds)])
			checkLuma(t, fmt.Sprintf("%d×%d %s", n, 41-n, args), cjpeg(t, m, args))
		}
	}
	m := ppm(photo(161, 115))
	for _, sampling := range samplings {
		for _, kind := range kinds {
			args := fmt.Sprintf("-sample %s %s", sampling, kind)
			checkLuma(t, args, cjpeg(t, m, args))
		}
	}
	for name, data := range scripted(t, m) {
		checkLuma(t, name, data)
	}
	for name, data := range testFiles(t) {
		if c, err := jpeg.Decode(bytes.NewReader(data)); err == nil && len(planes(c)) > 0 {
			checkLuma(t, name, data)
		}
	}
}

// scripted encodes an image in the scans of each script.
func scripted(t *testing.T, m []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for name, script := range scripts {
		file := filepath.Join(t.TempDir(), "scans")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, more := range [...]string{"", " -restart 4B"} {
			files[name+more] = cjpeg(t, m, "-sample 2x2 -scans "+file+more)
		}
	}
	return files
}

func checkLuma(t *testing.T, name string, data []byte) {
	t.Helper()
	got := decode(t, data, 8)
	if len(planes(got)) == 0 {
		return // RGB has no luma.
	}
	luma, want := planes(got)[0], djpeg(t, data, 8)
	if want.Rect != got.Bounds() {
		t.Errorf("%s: %v, want %v", name, got.Bounds(), want.Rect)
		return
	}
	for y := range luma.height {
		if row := luma.pix[y*luma.stride:][:luma.width]; !bytes.Equal(row, want.Pix[y*want.Stride:][:luma.width]) {
			t.Errorf("%s: row %d is\n%v, want\n%v", name, y, row, want.Pix[y*want.Stride:][:luma.width])
			return
		}
	}
}

// TestLumaIsNearLibjpegs uses an image with less grain than the bounds in the package comment allow for. It covers
// every sampling in every kind of file, and each of them at every scale, but not all three together.
func TestLumaIsNearLibjpegs(t *testing.T) {
	libjpeg(t)
	m := ppm(photo(333, 250))
	least := map[int]float64{4: 40, 2: 40, 1: 56}
	check := func(name string, data []byte, scale int) {
		want := planes(djpeg(t, data, scale))[0]
		if got := psnr(t, planes(decode(t, data, scale))[0], want); got < least[scale] {
			t.Errorf("%s at 1/%d: %.1f dB", name, scale, got)
		}
	}
	for name, data := range scripted(t, m) {
		for scale := range least {
			check(name, data, scale)
		}
	}
	for i, sampling := range samplings {
		for j, kind := range kinds {
			args := fmt.Sprintf("-quality 85 -sample %s %s", sampling, kind)
			check(args, cjpeg(t, m, args), 1<<((i+j)%len(least)))
		}
	}
}

// TestEverySampleIsTheMeanOfItsArea compares all planes with the means of the planes that image/jpeg decodes in
// full size.
func TestEverySampleIsTheMeanOfItsArea(t *testing.T) {
	for name, data := range testFiles(t) {
		whole, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || len(planes(whole)) == 0 {
			continue
		}
		for _, scale := range scales {
			m, checked, err := Decode(t.Context(), data, scale)
			if err != nil {
				t.Errorf("%s at 1/%d: %v", name, scale, err)
				continue
			}
			if progressive := bytes.Contains(data, []byte{0xff, markerSOF2}); (checked == Partial) != (progressive && scale == 8) {
				t.Errorf("%s at 1/%d: checked is %s", name, scale, checked)
			}
			got, want := planes(m), planes(whole)
			if len(got) != len(want) {
				t.Errorf("%s at 1/%d: %d planes, want %d", name, scale, len(got), len(want))
				continue
			}
			for i := range got {
				// The higher coefficients matter in images as small and as coarse as these.
				least := map[int]float64{8: 48, 4: 33, 2: 31, 1: 50}[scale]
				if dB := psnr(t, got[i], means(want[i], got[i], scale)); dB < least {
					t.Errorf("%s at 1/%d: plane %d differs by %.1f dB", name, scale, i, dB)
				}
			}
		}
	}
}

// means scales a plane to the size of another. image/jpeg pads its planes to whole MCUs, so that the area
// beyond the image exists too.
func means(whole, like plane, scale int) plane {
	out := plane{make([]byte, like.width*like.height), like.width, like.height, like.width}
	for y := range out.height {
		for x := range out.width {
			sum := 0
			for v := range scale {
				for u := range scale {
					sum += whole.at(x*scale+u, y*scale+v)
				}
			}
			out.pix[y*out.stride+x] = byte((sum + scale*scale/2) / (scale * scale))
		}
	}
	return out
}

func TestRGBStaysRGB(t *testing.T) {
	data := testFiles(t)["rgb.jpg"]
	whole, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range scales {
		m, ok := decode(t, data, scale).(*image.RGBA)
		if !ok {
			t.Fatalf("1/%d is not an RGBA image", scale)
		}
		for y := range m.Rect.Dy() - 1 {
			for x := range m.Rect.Dx() - 1 {
				for c := range 4 {
					sum := 0
					for i := range scale * scale {
						sum += int(whole.(*image.RGBA).Pix[whole.(*image.RGBA).PixOffset(x*scale+i%scale, y*scale+i/scale)+c])
					}
					if got, want := int(m.Pix[m.PixOffset(x, y)+c]), sum/(scale*scale); max(got-want, want-got) > 24 {
						t.Fatalf("1/%d: channel %d of %d,%d is %d, want about %d", scale, c, x, y, got, want)
					}
				}
			}
		}
	}
}

func TestSubsamplingIsKept(t *testing.T) {
	for name, want := range map[string]image.YCbCrSubsampleRatio{
		"420-restart.jpg": image.YCbCrSubsampleRatio420, "422-optimized.jpg": image.YCbCrSubsampleRatio422,
		"440.jpg": image.YCbCrSubsampleRatio440, "411.jpg": image.YCbCrSubsampleRatio411, "410.jpg": image.YCbCrSubsampleRatio410,
		"video-001.q50.444.jpeg": image.YCbCrSubsampleRatio444,
	} {
		data, ok := testFiles(t)[name]
		if !ok {
			t.Skip("the Go distribution here has no image testdata")
		}
		for _, scale := range scales {
			if m := decode(t, data, scale).(*image.YCbCr); m.SubsampleRatio != want {
				t.Errorf("%s at 1/%d is %v", name, scale, m.SubsampleRatio)
			}
		}
	}
}

// ending is a context that ends after a number of calls of Err.
type ending struct {
	context.Context
	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestDecodingEndsWithItsContext(t *testing.T) {
	for _, name := range [...]string{"420-restart.jpg", "420-progressive.jpg"} {
		data := testFiles(t)[name]
		for left := range 2 {
			m, _, err := Decode(&ending{t.Context(), left}, data, 8)
			if !errors.Is(err, context.Canceled) || m != nil {
				t.Errorf("%s: got %v, %v after %d rows", name, m, err, left)
			}
		}
	}
}

func TestMemoryIsBoundedByTheScaledSize(t *testing.T) {
	const width, height = 1200, 900
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	tile := photo(width/10, height/10)
	for y := 0; y < height; y += tile.Rect.Dy() {
		for x := 0; x < width; x += tile.Rect.Dx() {
			draw.Draw(m, tile.Rect.Add(image.Pt(x, y)), tile, image.Point{}, draw.Src)
		}
	}
	tiles := ppm(m)
	for name, args := range map[string]string{"sequential": "", "progressive": "-progressive"} {
		t.Run(name, func(t *testing.T) {
			libjpeg(t)
			data := cjpeg(t, tiles, args)
			for _, scale := range scales {
				samples := int64(width / scale * height / scale * 3 / 2)
				most := samples + samples/50 + 160_000
				if args != "" {
					most += 4 * samples
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				decode(t, data, scale)
				runtime.ReadMemStats(&after)
				allocated := int64(after.TotalAlloc - before.TotalAlloc)
				if allocated > most {
					t.Errorf("1/%d: %d bytes for %d samples", scale, allocated, samples)
				}
			}
		})
	}
}

func ExampleDecode() {
	data, err := os.ReadFile("testdata/420-progressive.jpg")
	if err != nil {
		panic(err)
	}
	m, checked, err := Decode(context.Background(), data, 4)
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Bounds().Size(), checked)
	// Output: (10,8) full
}
