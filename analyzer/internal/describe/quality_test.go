package describe

import (
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestJPEGQualityIsWhatItWasWrittenWith relies on image/jpeg, which scales the tables as libjpeg does.
func TestJPEGQualityIsWhatItWasWrittenWith(t *testing.T) {
	m := photo(64, 48)
	for quality := 1; quality <= 100; quality++ {
		if got, _ := describe(t, encodeJPEG(t, m, quality)); got.JPEGQuality != quality {
			t.Errorf("written with %d, estimated as %d", quality, got.JPEGQuality)
		}
	}
	if got, _ := describe(t, encodePNG(t, m)); got.JPEGQuality != 0 {
		t.Errorf("a PNG has quality %d", got.JPEGQuality)
	}
}

// TestJPEGQualityMatchesExiftool compares with exiftool, which estimates as ImageMagick does, for images of
// many programs and cameras. If tables of the scale were rounded differently, these two estimate up to 11 less,
// so only exact tables are compared.
func TestJPEGQualityMatchesExiftool(t *testing.T) {
	files := cameraFiles(t)
	judged := cameraTags(t)
	// These define a third table that no component uses, and exiftool counts it.
	unused := map[string]bool{
		"metadata-extractor/nikonMakernoteType2b.jpg": true, "metadata-extractor/withUncompressedYCbCrThumbnail.jpg": true,
	}
	compared := 0
	for name, data := range files {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil {
			continue
		}
		got, exact := jpegQuality(h), true
		for i, v := range h.Luma {
			exact = exact && got > 0 && int(v) == atQuality(annexK[0][i], got)
		}
		want, ok := judged[name]["File:JPEGQualityEstimate"].(float64)
		if !ok || !exact || unused[name] {
			continue
		}
		compared++
		if abs(got-int(want)) > 1 {
			t.Errorf("%s: %d, exiftool reports %v", name, got, want)
		}
	}
	if compared < 20 {
		t.Errorf("only %d images were compared", compared)
	}
}
