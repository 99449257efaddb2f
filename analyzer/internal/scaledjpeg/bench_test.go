package scaledjpeg

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"testing"
	"time"
)

// BenchmarkDecode measures how many times faster each scale decodes than image/jpeg, which runs alternately.
// The fastest of many runs is the cost of the work; the others were disturbed.
func BenchmarkDecode(b *testing.B) {
	for _, size := range [...]struct{ width, height int }{{32, 24}, {160, 120}, {640, 480}, {1632, 1224}, {4000, 3000}} {
		img := ppm(photo(size.width, size.height))
		for _, args := range [...]string{"-quality 75", "-quality 90", "-quality 85 -progressive"} {
			libjpeg(b)
			data := cjpeg(b, img, args)
			for _, scale := range scales {
				b.Run(fmt.Sprintf("%dx%d %s, 1 of %d", size.width, size.height, args, scale), func(b *testing.B) {
					whole, scaled := time.Hour, time.Hour
					for b.Loop() {
						start := time.Now()
						if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
							b.Fatal(err)
						}
						decoded := time.Now()
						decode(b, data, scale)
						whole, scaled = min(whole, decoded.Sub(start)), min(scaled, time.Since(decoded))
					}
					b.ReportMetric(scaled.Seconds()*1e3, "ms/image")
					b.ReportMetric(float64(whole)/float64(scaled), "×faster")
					b.ReportMetric(float64(len(data))/float64(size.width*size.height), "B/pixel")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
