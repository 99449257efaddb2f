package colorprofile

import (
	"slices"
	"testing"
)

// BenchmarkApply converts a working copy.
func BenchmarkApply(b *testing.B) {
	for _, name := range []string{"srgb", "gray-2.2", "display-p3", "scanner-mft2", "scanner-mab", "cmyk-mft2"} {
		transform, err := Parse(charts()[name])
		if err != nil {
			b.Fatal(err)
		}
		pix := make([]byte, 4*320*320)
		for i := range pix {
			pix[i] = byte(i * i >> 5)
		}
		work := slices.Clone(pix)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				copy(work, pix)
				transform.Apply(work)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/320/320, "ns/pixel")
		})
	}
}

// BenchmarkParse reads a profile.
func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"display-p3", "cmyk-mft2"} {
		profile := charts()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(profile); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
