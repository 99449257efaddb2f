package describe

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// photo returns an image with the properties of photos: slow gradients, edges, fine texture and a little noise.
// It is the same in every run, and at any size a scaled copy of itself except for the noise.
func photo(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range height {
		v := float64(y) / float64(height)
		for x := range width {
			u := float64(x) / float64(width)
			sky := 0.5 + 0.5*math.Sin(3*u+2*v)
			if math.Hypot(u-0.7, v-0.3) < 0.15 {
				sky = 1.2
			}
			if v > 0.6+0.1*math.Sin(9*u) {
				sky = 0.25 + 0.15*math.Sin(70*u)*math.Cos(50*v)
			}
			noise := 6 * (r.Float64() - 0.5)
			p := m.Pix[y*m.Stride+4*x:]
			p[0] = level(200*sky + noise)
			p[1] = level(150*sky + 60*v + noise)
			p[2] = level(120*sky + 90*(1-u) + noise)
			p[3] = 255
		}
	}
	return m
}

func level(v float64) uint8 { return uint8(max(0, min(255, v))) }

func encodeJPEG(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encodePNG stores the pixels, because compression would be most of the work of a test.
func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// goTestdata reads one of the images that the Go distribution tests its decoders with.
func goTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "src/image", name)) //nolint:staticcheck // The images are next to the sources of the toolchain that runs the test.
	if err != nil {
		t.Skip("the Go distribution here has no image testdata")
	}
	return data
}

// filled returns an image of one color.
func filled(width, height int, c color.Color) *image.NRGBA {
	p := color.NRGBAModel.Convert(c).(color.NRGBA)
	return &image.NRGBA{
		Pix: bytes.Repeat([]byte{p.R, p.G, p.B, p.A}, width*height), Stride: 4 * width, Rect: image.Rect(0, 0, width, height),
	}
}

// withExif inserts an EXIF block directly after the start of a JPEG.
func withExif(jpg, tiff []byte) []byte {
	out := []byte{0xff, 0xd8, 0xff, 0xe1}
	out = binary.BigEndian.AppendUint16(out, uint16(len(tiff)+8))
	out = append(out, "Exif\x00\x00"...)
	return append(append(out, tiff...), jpg[2:]...)
}

// describe describes an image and validates the record against its schema.
func describe(t testing.TB, data []byte) (pipeline.Metadata, image.Image) {
	t.Helper()
	m, thumbnail, err := New(Config{}).Describe(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, m)
	small, err := jpeg.Decode(bytes.NewReader(thumbnail))
	if err != nil {
		t.Fatalf("decode thumbnail: %v", err)
	}
	return m, small
}
