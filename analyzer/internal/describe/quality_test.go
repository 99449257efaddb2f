package describe

import (
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestJPEGQualityIsWhatItWasWrittenWith: image/jpeg scales the tables as libjpeg
// does.
func TestJPEGQualityIsWhatItWasWrittenWith(t *testing.T) {
	m := photo(64, 48)
	for quality := 1; quality <= 100; quality++ {
		if got, _ := describe(t, encodeJPEG(t, m, quality)); got.JPEGQuality != quality {
			t.Errorf("written with %d, told as %d", quality, got.JPEGQuality)
		}
	}
	if got, _ := describe(t, encodePNG(t, m)); got.JPEGQuality != 0 {
		t.Errorf("of a PNG: %d", got.JPEGQuality)
	}
}

// TestJPEGQualityIsExiftools compares with exiftool, which estimates as ImageMagick
// does, for pictures of many programs and cameras. Where tables of the scale were
// rounded in another way these two fall to a quality of up to 11 less, so only the
// exact ones are compared.
func TestJPEGQualityIsExiftools(t *testing.T) {
	files := cameraFiles(t)
	judged := judge(t, files, "-JPEGQualityEstimate")
	// These define a third table that no component takes, and exiftool counts it.
	unused := map[string]bool{
		"metadata-extractor/nikonMakernoteType2b.jpg": true, "metadata-extractor/withUncompressedYCbCrThumbnail.jpg": true,
	}
	told := 0
	for name, data := range files {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil {
			continue
		}
		got, exact := jpegQuality(h), true
		for i, v := range h.Luma {
			exact = exact && got > 0 && int(v) == atQuality(annexK[0][i], got)
		}
		want, ok := judged[name]["JPEGQualityEstimate"].(float64)
		if !ok || !exact || unused[name] {
			continue
		}
		told++
		if abs(got-int(want)) > 1 {
			t.Errorf("%s: %d, exiftool says %v", name, got, want)
		}
	}
	if told < 20 {
		t.Errorf("only %d pictures were compared", told)
	}
}
