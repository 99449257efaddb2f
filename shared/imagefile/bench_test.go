package imagefile_test

import (
	"bytes"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// BenchmarkRead checks a photo before anything is decoded, as every service does with every image.
func BenchmarkRead(b *testing.B) {
	photo, err := os.ReadFile(filepath.Join("..", "..", "docs", "sunrise.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		b.Fatal(err)
	}
	var lossless bytes.Buffer
	if err := png.Encode(&lossless, m); err != nil {
		b.Fatal(err)
	}
	for _, file := range []struct {
		format string
		data   []byte
	}{{"jpeg", photo}, {"png", lossless.Bytes()}} {
		b.Run("format="+file.format, func(b *testing.B) {
			b.SetBytes(int64(len(file.data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := imagefile.Read(file.data, imagefile.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
