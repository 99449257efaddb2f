package describe

import (
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
)

// TestJPEGQualityIsWhatItWasWrittenWith relies on image/jpeg, which scales the tables as libjpeg does.
func TestJPEGQualityIsWhatItWasWrittenWith(t *testing.T) {
	m := fixture.Photo(64, 48)
	for quality := 1; quality <= 100; quality++ {
		if got, _ := describe(t, fixture.EncodeJPEG(t, m, quality)); got.JPEGQuality != quality {
			t.Errorf("written with %d, estimated as %d", quality, got.JPEGQuality)
		}
	}
	if got, _ := describe(t, fixture.EncodePNG(t, m)); got.JPEGQuality != 0 {
		t.Errorf("a PNG has quality %d", got.JPEGQuality)
	}
}
