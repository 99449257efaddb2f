package colorprofile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "convert the charts with libvips and store the result in testdata")

// charts are profiles of every kind that this package reads.
func charts() map[string][]byte {
	p3, rec2020 := codePoints[12], codePoints[9]
	proPhoto := primaries{{0.734699, 0.265301}, {0.159597, 0.840403}, {0.036598, 0.000105}, {0.345704, 0.358540}}
	srgbPara := para(3, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045)
	gbr := matrixTags(bt709, srgbPara)
	gbr[0].data, gbr[2].data, gbr[4].data = gbr[2].data, gbr[4].data, gbr[0].data
	bent := func(v float64) float64 { return math.Pow(v, 1.5) }
	same := curves(para(0, 1), para(0, 1), para(0, 1))
	// The matrix of mAB needs linear XYZ, in which 1 is encoded as 1/xyzScale.
	back, _ := fromD50.inverse()
	var toXYZ []float64
	for _, v := range back {
		toXYZ = append(toXYZ, v/xyzScale)
	}
	return map[string][]byte{
		"adobe-rgb":    build(2, "RGB ", "XYZ ", matrixTags(adobeRGB, gammaCurve(563./256))...),
		"display-p3":   build(4, "RGB ", "XYZ ", matrixTags(p3, srgbPara)...),
		"prophoto":     build(2, "RGB ", "XYZ ", matrixTags(proPhoto, gammaCurve(1.8))...),
		"linear-2020":  build(4, "RGB ", "XYZ ", matrixTags(rec2020, []byte("curv\x00\x00\x00\x00\x00\x00\x00\x00"))...),
		"curves":       build(2, "RGB ", "XYZ ", matrixTags(bt709, tableCurve(1024, power(1.7)), tableCurve(1024, power(1.9)), tableCurve(256, power(2.3)))...),
		"parametric":   build(4, "RGB ", "XYZ ", matrixTags(adobeRGB, para(4, 2.2, .9, .1, .3, .1, .02, .005), para(1, 2, .95, .05), para(2, 2.1, .9, .1, .01))...),
		"gbr":          build(4, "RGB ", "XYZ ", gbr...),
		"srgb":         build(2, "RGB ", "XYZ ", matrixTags(bt709, tableCurve(1024, srgbDecode))...),
		"scanner-mft2": build(2, "RGB ", "Lab ", tag{"A2B1", mft(true, 3, 17, identity, scanner)}),
		"scanner-mft1": build(2, "RGB ", "Lab ", tag{"A2B1", mft(false, 3, 9, bent, scanner)}),
		"scanner-mab": build(4, "RGB ", "Lab ", tag{"A2B1", mAB(3, parts{
			b: same, a: curves(tableCurve(33, bent), para(0, 1.2), para(0, 1.5)), m: curves(para(0, 1.1), para(0, 1), para(0, 1)), matrix: fixeds(.95, 0, 0, 0, .9, 0, 0, 0, .9, .05, .05, .05),
			clut: clut16(3, 11, func(in []float64) [3]float64 { return encodeLab(scanner(in)) }),
		})}),
		"matrix-mab": build(4, "RGB ", "XYZ ", tag{"A2B1", mAB(3, parts{b: same, m: curves(srgbPara, para(0, 2.2), para(0, 1.8)), matrix: fixeds(append(toXYZ, 0, 0, 0)...)})}),
		// The values between the stages are far beyond 0 to 1, as in the profiles of jpegli's XYB.
		"beyond-range": build(4, "RGB ", "XYZ ", tag{"A2B1", mAB(3, parts{
			b: same, a: same, m: curves(para(3, 3, .9, .14, 0, 0), para(3, 3, .9, .13, 0, 0), para(3, 3, 1.5, -.12, 0, 0)), matrix: fixeds(1.5, -1.1, .07, -.05, .57, -.02, -1.4, 1.1, .7, 0, 0, 0),
			clut: clut16(3, 2, func(in []float64) [3]float64 { return [3]float64{in[1] * (.5 + .5*in[0]), in[1], (in[1] + in[2]) / 2} }),
		})}),
		// The intents differ, and there is a matrix too.
		"two-tables": build(2, "RGB ", "Lab ", append(matrixTags(bt709, srgbPara),
			tag{"A2B0", mft(true, 3, 5, identity, func(in []float64) [3]float64 { return scanner([]float64{in[2], in[1], in[0]}) })},
			tag{"A2B1", mft(true, 3, 9, identity, scanner)})...),
		"gray-2.2":      build(2, "GRAY", "XYZ ", tag{"kTRC", gammaCurve(2.2)}),
		"gray-dot-gain": build(2, "GRAY", "XYZ ", tag{"kTRC", tableCurve(256, func(v float64) float64 { ink := 1 - v; return 1 - min(1, ink+.8*ink*(1-ink)) })}),
		"gray-lab":      build(4, "GRAY", "Lab ", tag{"kTRC", para(0, 0.9)}),
		"gray-table":    build(2, "GRAY", "Lab ", tag{"A2B1", mft(true, 1, 16, bent, func(in []float64) [3]float64 { return [3]float64{100 * in[0], 10 * in[0] * (1 - in[0]), 0} })}),
		"cmyk-mft2":     build(2, "CMYK", "Lab ", tag{"A2B1", mft(true, 4, 9, identity, press)}),
		"cmyk-mft1":     build(2, "CMYK", "Lab ", tag{"A2B1", mft(false, 4, 7, bent, press)}),
		"cmyk-mab": build(4, "CMYK", "Lab ", tag{"A2B1", mAB(4, parts{
			b: same, a: curves(para(0, 1.1), para(0, 1), para(0, 1), para(0, .9)), clut: clut16(4, 7, func(in []float64) [3]float64 { return encodeLab(press(in)) }),
		})}),
	}
}

const chartWidth, chartHeight = 40, 32

// chart returns the samples of a space: a cube of colors, then ramps, then random colors.
func chart(s Space) (pix []byte, channels int) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // The same colors each time.
	channels = map[Space]int{RGB: 3, Gray: 1, CMYK: 4}[s]
	side := map[Space]int{RGB: 9, Gray: 256, CMYK: 5}[s]
	cube := 1
	for range channels {
		cube *= side
	}
	for i := range chartWidth * chartHeight {
		for c := range channels {
			switch {
			case i < cube:
				rest := i
				for range c {
					rest /= side
				}
				pix = append(pix, byte(rest%side*255/(side-1)))
			case i < cube+256:
				pix = append(pix, byte(i-cube))
			default:
				pix = append(pix, byte(random.IntN(256)))
			}
		}
	}
	return pix, channels
}

// TestVips compares charts with those that libvips made:
//
//	vips icc_transform chart.tif chart.ppm srgb --embedded --intent relative
//
// With -update, the test runs this command. It needs the package libvips-tools of Debian.
func TestVips(t *testing.T) {
	for name, profile := range charts() {
		t.Run(name, func(t *testing.T) {
			transform, err := Parse(profile)
			if err != nil {
				t.Fatal(err)
			}
			pix, channels := chart(transform.Space())
			file := filepath.Join("testdata", "vips", name+".png")
			if *update {
				convertWithVips(t, pix, channels, profile, file)
			}
			want := readPNG(t, file)
			got := fourBytes(pix, channels)
			transform.Apply(got)
			sum, far := 0, 0
			for i := range chartWidth * chartHeight {
				c := want.NRGBAAt(i%chartWidth, i/chartWidth)
				for j, v := range []byte{c.R, c.G, c.B} {
					d := int(v) - int(got[4*i+j])
					sum += max(d, -d)
					if max(d, -d) > 3 {
						far++
					}
				}
			}
			const samples = 3 * chartWidth * chartHeight
			mean := float64(sum) / samples
			t.Logf("mean difference %.3f levels; %d of %d samples differ by more than 3", mean, far, samples)
			// libvips passes through Lab and is inexact for colors that are nearly black.
			if mean > 0.5 || far > samples/100 {
				t.Errorf("mean difference from libvips %.2f levels; %d of %d samples differ by more than 3", mean, far, samples)
			}
		})
	}
}

// fourBytes returns the pixels as Apply expects them.
func fourBytes(pix []byte, channels int) []byte {
	var out []byte
	for ; len(pix) > 0; pix = pix[channels:] {
		switch channels {
		case 1:
			out = append(out, pix[0], pix[0], pix[0], 255)
		case 3:
			out = append(out, pix[0], pix[1], pix[2], 255)
		default:
			out = append(out, pix[:4]...)
		}
	}
	return out
}

func readPNG(t *testing.T, file string) *image.NRGBA {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA(m.Bounds())
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			out.Set(x, y, m.At(x, y))
		}
	}
	return out
}

func convertWithVips(t *testing.T, pix []byte, channels int, profile []byte, file string) {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "chart.tif"), filepath.Join(dir, "chart.ppm")
	if err := os.WriteFile(in, tiff(pix, channels, profile), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "vips", "icc_transform", in, out, "srgb", "--embedded", "--intent", "relative")
	if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
		t.Fatalf("vips: %v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	m := image.NewNRGBA(image.Rect(0, 0, chartWidth, chartHeight))
	rgb := data[len(data)-3*chartWidth*chartHeight:]
	if !bytes.HasPrefix(data, []byte("P6")) || !bytes.Contains(data, fmt.Appendf(nil, "%d %d", chartWidth, chartHeight)) {
		t.Fatalf("vips wrote %q", data[:40])
	}
	for i := range chartWidth * chartHeight {
		m.SetNRGBA(i%chartWidth, i/chartWidth, color.NRGBA{R: rgb[3*i], G: rgb[3*i+1], B: rgb[3*i+2], A: 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tiff returns an uncompressed TIFF file with a profile.
func tiff(pix []byte, channels int, profile []byte) []byte {
	const entries = 10
	le := binary.LittleEndian
	photometric := map[int]uint32{1: 1, 3: 2, 4: 5}[channels]
	b := append([]byte("II*\x00\x08\x00\x00\x00"), entries, 0)
	bits := 8 + 2 + 12*entries + 4
	pixels := bits + 8
	icc := pixels + len(pix)
	entry := func(tag, kind uint16, count int, value uint32) {
		b = le.AppendUint16(b, tag)
		b = le.AppendUint16(b, kind)
		b = le.AppendUint32(b, uint32(count))
		b = le.AppendUint32(b, value)
	}
	entry(256, 4, 1, chartWidth)
	entry(257, 4, 1, chartHeight)
	switch channels {
	case 1:
		entry(258, 3, 1, 8)
	default:
		entry(258, 3, channels, uint32(bits))
	}
	entry(259, 3, 1, 1)
	entry(262, 3, 1, photometric)
	entry(273, 4, 1, uint32(pixels))
	entry(277, 3, 1, uint32(channels))
	entry(278, 4, 1, chartHeight)
	entry(279, 4, 1, uint32(len(pix)))
	entry(34675, 7, len(profile), uint32(icc))
	b = append(b, 0, 0, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0)
	b = append(b, pix...)
	return append(b, profile...)
}
