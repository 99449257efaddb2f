package describe

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/scaledjpeg"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// BenchmarkDescribe measures the cost of describing an image, and its ratio to the cost of decoding the whole
// image: at most 2/5 for 2 megapixels and 1/8 for 12.
func BenchmarkDescribe(b *testing.B) {
	for _, c := range []struct {
		name          string
		width, height int
	}{{"2MP", 1632, 1224}, {"12MP", 4000, 3000}} {
		b.Run(c.name, func(b *testing.B) {
			data := encodeJPEG(b, photo(c.width, c.height), 92)
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

// BenchmarkExtractors measures the cost of each extractor at 320×240. All except the hashes must stay below 2
// ms together.
func BenchmarkExtractors(b *testing.B) {
	img := (*image.NRGBA)(photo(320, 240))
	flat := onWhite(img)
	seen, names := measure(img, flat), newColorNames()
	jpg := withExif(encodeJPEG(b, img, 90), tiffOf(fullExif...))
	h, err := imagefile.Read(jpg, imagefile.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	h.XMP = []byte(xmpStart + `<rdf:Description dc:title="A" xmp:Rating="3"><dc:subject><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></dc:subject></rdf:Description>` + xmpEnd)
	h.IPTC = imageResource(0x404, "", append(dataSet(2, 5, "title"), dataSet(2, 25, "keyword")...))
	h.ICC = iccOf("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00")
	found := New(Config{}).record(jpg, h, scaledjpeg.Full, seen, &warnings{})
	own := readEmbedded(h, KeepGPS, &warnings{})
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"measure", func() { measure(img, flat) }},
		{"palette", func() { seen.palette(names) }},
		{"statistics", func() {
			seen.meanColor()
			seen.saturation()
			seen.colorfulness()
			seen.warmth()
			seen.entropy()
			seen.brightnessAndContrast()
			seen.clipping()
		}},
		{"sharpness", func() { sharpness(seen.light) }},
		{"flags", func() { flagsOf(h, seen, &found, "") }},
		{"blurred", func() { seen.light.steepest() }},
		{"screenshot", func() { seen.light.flat() }},
		{"exif, iptc, xmp", func() { readEmbedded(h, KeepGPS, &warnings{}) }},
		{"icc", func() { profileName(h.ICC, "", &warnings{}) }},
		{"quality", func() { jpegQuality(h) }},
		{"caption", func() {
			m := found
			m.Composed = nil
			caption(&m, embedded{exif: own.exif})
		}},
		{"hash/blurhash", func() { blurHash(flat) }},
		{"hash/thumbhash", func() { thumbHash(img) }},
		{"hash/dhash", func() { dHash(seen.light) }},
		{"hash/phash", func() { pHash(seen.light) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.run()
			}
		})
	}
}
