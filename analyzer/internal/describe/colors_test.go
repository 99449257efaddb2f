package describe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestThumbnailLikeVips compares the thumbnail of a JPEG in Adobe RGB, whose profile is called sRGB, with the one
// of libvips:
//
//	vipsthumbnail adobe-rgb.jpg -s 320x320 --eprofile srgb -o adobe-rgb.thumbnail.png
func TestThumbnailLikeVips(t *testing.T) {
	m, got := describe(t, readFile(t, "testdata/adobe-rgb.jpg"))
	want, err := png.Decode(bytes.NewReader(readFile(t, "testdata/adobe-rgb.thumbnail.png")))
	if err != nil {
		t.Fatal(err)
	}
	if got.Bounds() != want.Bounds() || m.ICCProfile != "sRGB built-in" || m.Warnings != nil {
		t.Fatalf("%v, want %v; profile %q, warnings %q", got.Bounds(), want.Bounds(), m.ICCProfile, m.Warnings)
	}
	sum, n := 0, 0
	for y := range want.Bounds().Dy() {
		for x := range want.Bounds().Dx() {
			a, b := color.NRGBAModel.Convert(got.At(x, y)).(color.NRGBA), color.NRGBAModel.Convert(want.At(x, y)).(color.NRGBA)
			for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
				sum += max(d, -d)
				n++
			}
		}
	}
	t.Logf("mean difference %.2f levels", float64(sum)/float64(n))
	if sum >= 3*n {
		t.Errorf("mean difference from libvips %.2f levels, want less than 3", float64(sum)/float64(n))
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// adobeProfile returns the profile of the JPEG in testdata.
func adobeProfile(t *testing.T) []byte {
	t.Helper()
	data := readFile(t, "testdata/adobe-rgb.jpg")
	h, err := imagefile.Read(data, imagefile.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return h.Metadata(data, 0).ICC.Data
}

// withChunks inserts chunks, each a name and a payload, after the header of a PNG.
func withChunks(data []byte, chunks ...string) []byte {
	for _, c := range slices.Backward(chunks) {
		data = fixture.WithPNGChunk(data, c[:4], c[4:])
	}
	return data
}

// withProfile inserts a profile into a JPEG, in segments of at most size bytes, the last one first.
func withProfile(jpg, profile []byte, size int) []byte {
	parts := slices.Collect(slices.Chunk(profile, size))
	out := bytes.Clone(jpg[:2])
	for i := range slices.Backward(parts) {
		part := append([]byte("ICC_PROFILE\x00"), byte(i+1), byte(len(parts)))
		part = append(part, parts[i]...)
		out = binary.BigEndian.AppendUint16(append(out, 0xff, 0xe2), uint16(len(part)+2))
		out = append(out, part...)
	}
	return append(out, jpg[2:]...)
}

// r03 is an EXIF block with the interoperability index R03.
const r03 = "MM\x00*\x00\x00\x00\x08" +
	"\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00" +
	"\x00\x01\xa0\x05\x00\x04\x00\x00\x00\x01\x00\x00\x00\x2c\x00\x00\x00\x00" +
	"\x00\x01\x00\x01\x00\x02\x00\x00\x00\x04R03\x00\x00\x00\x00\x00"

// TestColorsOfFile verifies which of the color specifications of a file counts. The expected colors were computed by
// transicc of Little CMS.
func TestColorsOfFile(t *testing.T) {
	img := fixture.Filled(40, 30, color.NRGBA{R: 200, G: 80, B: 60, A: 255})
	stored := fixture.EncodePNG(t, img)
	jpg := fixture.EncodeJPEG(t, img, 100)
	profile := adobeProfile(t)
	iccp := "iCCPx\x00\x00" + string(fixture.Deflated(profile))
	const p3 = "cICP\x0c\x0d\x00\x01"
	const adobe, same, ofP3 = "#e64f38", "#c8503c", "#d84532"
	for name, c := range map[string]struct {
		data   []byte
		want   string
		warned bool
	}{
		"no profile":               {stored, same, false},
		"JPEG, profile":            {withProfile(jpg, profile, 65000), adobe, false},
		"JPEG, profile in parts":   {withProfile(jpg, profile, 50), adobe, false},
		"JPEG, R03":                {fixture.WithExif(jpg, []byte(r03)), adobe, false},
		"JPEG, cut profile":        {withProfile(jpg, profile[:300], 65000), same, true},
		"JPEG, profile of gray":    {withProfile(jpg, bytes.Replace(profile, []byte("RGB XYZ "), []byte("GRAYXYZ "), 1), 65000), same, true},
		"PNG, profile":             {withChunks(stored, iccp), adobe, false},
		"PNG, R03":                 {withChunks(stored, "eXIf"+r03), adobe, false},
		"cICP before the profile":  {withChunks(stored, iccp, p3), ofP3, false},
		"the profile before sRGB":  {withChunks(stored, "sRGB\x00", iccp), adobe, false},
		"sRGB before gAMA and R03": {withChunks(stored, "gAMA\x00\x01\x86\xa0", "sRGB\x00", "eXIf"+r03), same, false},
		"gAMA before R03":          {withChunks(stored, "gAMA\x00\x01\x86\xa0", "eXIf"+r03), "#e59885", false},
		"unknown cICP":             {withChunks(stored, "cICP\x63\x0d\x00\x01", iccp), adobe, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, small := describe(t, c.data)
			r, g, b, _ := small.At(20, 15).RGBA()
			thumbnail := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
			warned := slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.HasPrefix(w, "colors: ") })
			if !similar(m.MeanColor, c.want) || !similar(thumbnail, c.want) || warned != c.warned {
				t.Errorf("mean color %s, thumbnail %s, want %s; warnings %q", m.MeanColor, thumbnail, c.want, m.Warnings)
			}
		})
	}
}

// similar reports whether the samples of two colors differ by at most 6 levels: JPEG changes them.
func similar(a, b string) bool {
	var x, y [3]int
	if _, err := fmt.Sscanf(a+b, "#%02x%02x%02x#%02x%02x%02x", &x[0], &x[1], &x[2], &y[0], &y[1], &y[2]); err != nil {
		return false
	}
	for i := range x {
		if d := x[i] - y[i]; d > 6 || d < -6 {
			return false
		}
	}
	return true
}

// TestColorsOfCMYK verifies that inks pass through the table of their profile, here one in which every color is
// the same orange.
func TestColorsOfCMYK(t *testing.T) {
	profile := make([]byte, 128)
	copy(profile[12:], "prtrCMYKLab ")
	copy(profile[36:], "acsp")
	table := append([]byte("mft1\x00\x00\x00\x00\x04\x03\x02\x00"), make([]byte, 36)...)
	ramp := make([]byte, 256)
	for i := range ramp {
		ramp[i] = byte(i)
	}
	table = append(table, slices.Repeat(ramp, 4)...)
	table = append(table, bytes.Repeat([]byte{178, 158, 198}, 16)...) // Lab 69.8, 30, 70
	table = append(table, slices.Repeat(ramp, 3)...)
	be := binary.BigEndian
	profile = be.AppendUint32(profile, 1)
	profile = be.AppendUint32(be.AppendUint32(append(profile, "A2B0"...), 144), uint32(len(table)))
	profile = append(profile, table...)
	m, small := describe(t, withProfile(fixture.GoTestdata(t, "testdata/video-001.cmyk.jpeg"), profile, 700))
	r, g, b, _ := small.At(50, 50).RGBA()
	if thumbnail := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8); !similar(m.MeanColor, "#ef941c") || !similar(thumbnail, "#ef941c") {
		t.Errorf("mean color %s, thumbnail %s", m.MeanColor, thumbnail)
	}
}

// TestClippingBeforeConversion verifies that clipping is a property of the stored samples.
func TestClippingBeforeConversion(t *testing.T) {
	m, _ := describe(t, withChunks(fixture.EncodePNG(t, fixture.Filled(40, 30, color.Gray{Y: 4})), "gAMA\x00\x01\x86\xa0"))
	if m.ShadowsClipped != 1 || m.Brightness < 0.12 {
		t.Errorf("shadows clipped %v, brightness %v", m.ShadowsClipped, m.Brightness)
	}
}

// TestColorsKeepAlpha verifies that the conversion works on straight samples.
func TestColorsKeepAlpha(t *testing.T) {
	img := fixture.Filled(40, 30, color.NRGBA{R: 200, G: 80, B: 60, A: 128})
	m, small := describe(t, withChunks(fixture.EncodePNG(t, img), "eXIf"+r03))
	r, g, b, _ := small.At(20, 15).RGBA()
	if thumbnail := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8); !similar(m.MeanColor, "#e64f38") || !similar(thumbnail, "#f2a79b") || !m.AlphaUsed {
		t.Errorf("mean color %s, thumbnail %s, alpha %v", m.MeanColor, thumbnail, m.AlphaUsed)
	}
}
