package scaledjpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var scales = [...]int{1, 2, 4, 8}

// photo returns an image with the properties of photos: slow gradients, edges, fine texture and a little noise.
// It is the same in every run.
func photo(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range height {
		v := float64(y) / float64(height)
		for x := range width {
			u := float64(x) / float64(width)
			light := 0.5 + 0.4*math.Sin(3*u+2*v)
			if math.Hypot(u-0.7, v-0.3) < 0.15 {
				light = 1
			}
			if v > 0.6+0.1*math.Sin(9*u) {
				light = 0.4 + 0.1*math.Sin(70*u)*math.Cos(50*v)
			}
			noise := 6 * (r.Float64() - 0.5)
			p := m.Pix[y*m.Stride+4*x:]
			p[0], p[1], p[2], p[3] = sample(190*light+20+noise), sample(130*light+60*v+20+noise), sample(100*light+80*(1-u)+noise), 255
		}
	}
	return m
}

func sample(v float64) byte { return byte(max(0, min(255, v))) }

func encode(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// libjpeg skips the test if the programs of libjpeg-turbo are missing.
func libjpeg(t testing.TB) {
	t.Helper()
	for _, program := range [...]string{"cjpeg", "djpeg"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("cjpeg and djpeg are not installed (deployments/local/install.sh docs)")
		}
	}
}

func run(t testing.TB, in []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return out
}

// ppm returns an image in the format that cjpeg reads.
func ppm(m *image.RGBA) []byte {
	out := fmt.Appendf(nil, "P6\n%d %d\n255\n", m.Rect.Dx(), m.Rect.Dy())
	for i := 0; i < len(m.Pix); i += 4 {
		out = append(out, m.Pix[i:i+3]...)
	}
	return out
}

// cjpeg encodes an image in PPM with libjpeg-turbo; args are separated by spaces.
func cjpeg(t testing.TB, m []byte, args string) []byte {
	t.Helper()
	return run(t, m, "cjpeg", strings.Fields(args)...)
}

// djpeg decodes the luma with libjpeg-turbo at a scale.
func djpeg(t testing.TB, data []byte, scale int) *image.Gray {
	t.Helper()
	out := run(t, data, "djpeg", "-scale", fmt.Sprintf("1/%d", scale), "-dct", "int", "-grayscale", "-pnm")
	var width, height int
	if _, err := fmt.Fscanf(bytes.NewReader(out), "P5\n%d %d\n255\n", &width, &height); err != nil {
		t.Fatal(err)
	}
	return &image.Gray{Pix: out[len(out)-width*height:], Stride: width, Rect: image.Rect(0, 0, width, height)}
}

func decode(t testing.TB, data []byte, scale int) image.Image {
	t.Helper()
	m, _, err := Decode(t.Context(), data, scale)
	if err != nil {
		t.Fatalf("at 1/%d: %v", scale, err)
	}
	return m
}

// plane is one plane of an image.
type plane struct {
	pix                   []byte
	width, height, stride int
}

func (p plane) at(x, y int) int { return int(p.pix[y*p.stride+x]) }

// planes returns the visible part of the planes of an image.
func planes(m image.Image) []plane {
	size := m.Bounds().Size()
	switch m := m.(type) {
	case *image.Gray:
		return []plane{{m.Pix, size.X, size.Y, m.Stride}}
	case *image.YCbCr:
		last := m.COffset(size.X-1, size.Y-1)
		width, height := last%m.CStride+1, last/m.CStride+1
		return []plane{
			{m.Y, size.X, size.Y, m.YStride}, {m.Cb, width, height, m.CStride}, {m.Cr, width, height, m.CStride},
		}
	}
	return nil
}

// psnr returns the peak signal-to-noise ratio of two planes in dB.
func psnr(t testing.TB, a, b plane) float64 {
	t.Helper()
	if a.width != b.width || a.height != b.height {
		t.Fatalf("%d×%d samples, want %d×%d", a.width, a.height, b.width, b.height)
	}
	squares := 0
	for y := range a.height {
		row := b.pix[y*b.stride:][:b.width]
		for x, v := range a.pix[y*a.stride:][:a.width] {
			d := int(v) - int(row[x])
			squares += d * d
		}
	}
	return 10 * math.Log10(255*255*float64(a.width*a.height)/float64(squares))
}

// testFiles returns the JPEGs of the Go distribution and our own, which cjpeg generated.
func testFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range [...]string{filepath.Join(runtime.GOROOT(), "src/image/testdata/*.jpeg"), "testdata/*.jpg"} { //nolint:staticcheck // The images are next to the sources of the toolchain that runs the test.
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(name)] = data
		}
	}
	return files
}
