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

// BenchmarkExtractors shows what each extractor costs at 320×240. All but the
// hashes are to stay below 2 ms together.
func BenchmarkExtractors(b *testing.B) {
	picture := (*image.NRGBA)(photo(320, 240))
	flat := onWhite(picture)
	seen, names := measure(picture, flat), newColorNames()
	jpg := withExif(encodeJPEG(b, picture, 90), tiffOf(fullExif...))
	h, err := imagefile.Read(jpg, imagefile.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	h.XMP = []byte(xmpStart + `<rdf:Description dc:title="A" xmp:Rating="3"><dc:subject><rdf:Bag><rdf:li>x</rdf:li></rdf:Bag></dc:subject></rdf:Description>` + xmpEnd)
	h.IPTC = imageResource(0x404, "", append(dataSet(2, 5, "title"), dataSet(2, 25, "keyword")...))
	h.ICC = iccOf("desc\x00\x00\x00\x00\x00\x00\x00\x05sRGB\x00\x00\x00")
	found := New(Config{}).tell(jpg, h, scaledjpeg.Full, picture, flat)
	own := readEmbedded(h, KeepGPS, &warnings{})
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"measure", func() { measure(picture, flat) }},
		{"palette", func() { seen.palette(names) }},
		{"figures", func() {
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
		{"icc", func() { profileName(h, &warnings{}) }},
		{"quality", func() { jpegQuality(h) }},
		{"words", func() {
			m := found
			m.Composed = nil
			caption(&m, embedded{exif: own.exif})
		}},
		{"hash/blurhash", func() { blurHash(flat) }},
		{"hash/thumbhash", func() { thumbHash(picture) }},
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
