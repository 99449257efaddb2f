package describe

import (
	"bytes"
	"image/jpeg"
	"testing"
	"time"
)

// BenchmarkDescribe shows what describing an image costs, and which part of the
// cost of decoding it whole that is: two fifths for 2 megapixels and an eighth for
// 12, or less.
func BenchmarkDescribe(b *testing.B) {
	for _, c := range []struct {
		name          string
		width, height int
	}{{"2MP", 1632, 1224}, {"12MP", 4000, 3000}} {
		b.Run(c.name, func(b *testing.B) {
			data := encodeJPEG(b, photo(c.width, c.height), 92)
			d := New(Config{})
			// The quickest of many runs is what the work costs; the others were
			// disturbed.
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
