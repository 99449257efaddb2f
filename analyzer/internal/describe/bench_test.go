package describe

import (
	"bytes"
	"image/jpeg"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

// BenchmarkDescribe measures the cost of describing an image, and its ratio to the cost of decoding the whole
// image: at most 2/5 for 2 megapixels and 1/8 for 12.
func BenchmarkDescribe(b *testing.B) {
	for _, c := range []struct {
		name          string
		width, height int
	}{{"2MP", 1632, 1224}, {"12MP", 4000, 3000}} {
		b.Run(c.name, func(b *testing.B) {
			data := fixture.EncodeJPEG(b, fixture.Photo(c.width, c.height), 92)
			d := New(Config{})
			// The fastest of many runs is the cost of the work; the others were disturbed.
			decoding, describing := time.Hour, time.Hour
			for b.Loop() {
				start := time.Now()
				if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
				decoded := time.Now()
				if _, _, err := d.Describe(b.Context(), data); err != nil {
					b.Fatal(err)
				}
				decoding = min(decoding, decoded.Sub(start))
				describing = min(describing, time.Since(decoded))
			}
			b.ReportMetric(describing.Seconds()*1e3, "ms/image")
			b.ReportMetric(float64(describing)/float64(decoding), "×decode")
			b.ReportMetric(float64(len(data))/1e3, "kB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
