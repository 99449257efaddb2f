package scaledjpeg

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// djpegColor decodes a file with libjpeg-turbo at a scale, in RGB or gray. It returns nil if libjpeg-turbo rejects
// the file before its last row, and its warnings.
func djpegColor(t testing.TB, data []byte, scale int) (m *image.RGBA, warnings string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "djpeg", "-scale", fmt.Sprintf("1/%d", scale), "-dct", "int", "-nosmooth", "-pnm") //nolint:gosec // Our own arguments.
	cmd.Stdin = bytes.NewReader(data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	const warned = 2
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	failed := err != nil && exit.ExitCode() != warned
	var kind string
	var width, height int
	if _, err := fmt.Fscanf(bytes.NewReader(out), "%s\n%d %d\n255\n", &kind, &width, &height); err != nil && !failed {
		t.Fatal(err)
	}
	channels := 3
	if kind == "P5" {
		channels = 1
	}
	// It has read all pixels of a single scan before it finds other data in place of the end of the image.
	head := len(fmt.Sprintf("%s\n%d %d\n255\n", kind, width, height))
	if failed && (kind == "" || len(out) != head+width*height*channels) {
		return nil, stderr.String()
	}
	pix := out[head:]
	m = image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		p := pix[i*channels:][:channels]
		copy(m.Pix[4*i:], []byte{p[0], p[channels/2], p[channels-1], 255})
	}
	return m, stderr.String()
}

// meanDifference returns the mean difference of the samples of two images of one size.
func meanDifference(t testing.TB, got image.Image, want *image.RGBA) float64 {
	t.Helper()
	if got.Bounds() != want.Rect {
		t.Fatalf("%v, want %v", got.Bounds(), want.Rect)
	}
	sum := 0
	for y := range want.Rect.Dy() {
		for x := range want.Rect.Dx() {
			a, b := color.RGBAModel.Convert(got.At(x, y)).(color.RGBA), want.RGBAAt(x, y)
			for _, d := range [...]int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
				sum += max(d, -d)
			}
		}
	}
	return float64(sum) / float64(3*want.Rect.Dx()*want.Rect.Dy())
}

// mostDifference is the limit of the mean difference from libjpeg-turbo's colors at each scale. At smaller scales,
// libjpeg-turbo computes chroma, and luma that is smaller than chroma, from more of its coefficients.
var mostDifference = map[int]float64{1: 0.8, 2: 2.5, 4: 3.5, 8: 4.5}

// checkKind compares the decoding of a file at every scale with libjpeg-turbo's.
func checkKind(t *testing.T, name string, data []byte) {
	t.Helper()
	for _, scale := range scales {
		want, warnings := djpegColor(t, data, scale)
		if want == nil {
			t.Errorf("%s: libjpeg-turbo rejects it: %s", name, warnings)
			return
		}
		m, _, err := Decode(t.Context(), data, scale)
		if err != nil {
			t.Errorf("%s at 1/%d: %v", name, scale, err)
			return
		}
		if d := meanDifference(t, m, want); d > mostDifference[scale] {
			t.Errorf("%s at 1/%d: the samples differ by %.2f", name, scale, d)
		}
	}
}

func jpegtran(t testing.TB, data []byte, args string) []byte {
	t.Helper()
	return run(t, data, "jpegtran", strings.Fields(args)...)
}

// factorsOf returns all sampling factors of n components of which each divides the largest, and one of each
// pair of factors that differ only by a common divisor.
func factorsOf(n int) (all [][]string) {
	var add func(list []string)
	add = func(list []string) {
		if len(list) == n {
			maxH, maxV := byte(0), byte(0)
			for _, s := range list {
				maxH, maxV = max(maxH, s[0]-'0'), max(maxV, s[2]-'0')
			}
			if !slices.ContainsFunc(list, func(s string) bool { return maxH%(s[0]-'0') != 0 || maxV%(s[2]-'0') != 0 }) {
				all = append(all, slices.Clone(list))
			}
			return
		}
		for h := range 4 {
			for v := range 4 {
				add(append(list, fmt.Sprintf("%dx%d", h+1, v+1)))
			}
		}
	}
	add(nil)
	return all
}

func blocksOf(sampling []string) (n int) {
	for _, s := range sampling {
		n += int(s[0]-'0') * int(s[2]-'0')
	}
	return n
}

// apart are scans of one component each, for sampling factors that are too large for one scan.
func apart(n int) (scans [][]int) {
	for i := range n {
		scans = append(scans, []int{i})
	}
	return scans
}

// TestEverySamplingIsLibjpegs decodes all combinations of sampling factors that libjpeg-turbo accepts, of one,
// three and some of four components, each in some of many encodings.
func TestEverySamplingIsLibjpegs(t *testing.T) {
	libjpeg(t)
	m := photo(83, 61)
	size := m.Rect.Size()
	models := map[string]struct {
		components int
		head       []byte
	}{
		"gray": {1, nil}, "ycbcr": {3, jfif()}, "rgb": {3, adobe(0)}, "cmyk": {4, adobe(0)}, "ycck": {4, adobe(2)},
	}
	n := 0
	for model, kind := range models {
		planes := planesOf(m, model)
		factors := factorsOf(kind.components)
		step := 1
		switch {
		case testing.Short():
			step = len(factors)/40 + 1
		case kind.components > 1:
			step = len(factors)/60 + 1
		}
		for i := 0; i < len(factors); i += step {
			sampling := factors[i]
			e := encoding{sampling: sampling, tables: true, head: kind.head, height: -1}
			n++
			if n%5 == 0 {
				e.restart = 1 + n%7
			}
			if blocksOf(sampling) > 10 && kind.components > 1 || n%11 == 0 {
				e.scans = apart(kind.components)
			}
			data := encodePlanes(e, planes, size)
			name := fmt.Sprint(model, sampling)
			if n%3 == 0 && blocksOf(sampling) <= 10 {
				data = jpegtran(t, data, "-progressive")
				name += " progressive"
			}
			checkKind(t, name, data)
		}
	}
}

// TestKindsAreLibjpegs decodes the kinds of files that libjpeg-turbo accepts and some decoders reject.
func TestKindsAreLibjpegs(t *testing.T) {
	libjpeg(t)
	m := photo(83, 61)
	size := m.Rect.Size()
	ycc := []string{"2x2", "1x1", "1x1"}
	four := []string{"1x1", "1x1", "1x1", "1x1"}
	file := func(model string, e encoding) []byte {
		if e.height == 0 {
			e.height = -1
		}
		return encodePlanes(e, planesOf(m, model), size)
	}
	plain := file("ycbcr", encoding{sampling: ycc, tables: true, head: jfif()})
	kinds := map[string][]byte{
		"no Huffman tables":                    file("ycbcr", encoding{sampling: ycc, head: jfif()}),
		"no Huffman tables of a gray image":    file("gray", encoding{sampling: []string{"1x1"}}),
		"no Huffman tables, several scans":     file("ycbcr", encoding{sampling: ycc, scans: [][]int{{0}, {1, 2}}}),
		"one of two Huffman tables missing":    append(append(bytes.Clone(plain[:2]), segment(markerDHT, append([]byte{1}, standardChromaDC...)...)...), withoutTables(plain)[2:]...),
		"RGB by identifiers":                   file("rgb", encoding{sampling: []string{"1x1", "1x1", "1x1"}, ids: []byte("RGB"), tables: true}),
		"RGB by Adobe's transform":             file("rgb", encoding{sampling: []string{"1x1", "1x1", "1x1"}, head: adobe(0), tables: true}),
		"YCbCr by JFIF in spite of Adobe":      file("ycbcr", encoding{sampling: ycc, head: append(jfif(), adobe(0)...), tables: true}),
		"YCbCr by Adobe, identifiers RGB":      file("ycbcr", encoding{sampling: ycc, ids: []byte("RGB"), head: adobe(1), tables: true}),
		"YCbCr by an unknown transform":        file("ycbcr", encoding{sampling: ycc, head: adobe(7), tables: true}),
		"RGB with a JFIF that is too short":    file("rgb", encoding{sampling: []string{"1x1", "1x1", "1x1"}, ids: []byte("RGB"), head: segment(markerAPP0, []byte("JFIF\x00\x01\x01")...), tables: true}),
		"YCbCr with a second APP0":             file("ycbcr", encoding{sampling: ycc, ids: []byte("RGB"), head: append(jfif(), segment(markerAPP0, []byte("OTHER")...)...), tables: true}),
		"Adobe after the first scan":           file("ycbcr", encoding{sampling: ycc, scans: apart(3), afterScan: adobe(0), tables: true}),
		"identifiers 0, 1, 2":                  file("ycbcr", encoding{sampling: ycc, ids: []byte{0, 1, 2}, tables: true}),
		"identifiers all 1":                    file("ycbcr", encoding{sampling: ycc, ids: []byte{1, 1, 1}, tables: true}),
		"identifiers 1, 1, 2":                  file("ycbcr", encoding{sampling: ycc, ids: []byte{1, 1, 2}, tables: true}),
		"identifiers 1, 2, 2":                  file("ycbcr", encoding{sampling: ycc, ids: []byte{1, 2, 2}, tables: true}),
		"four identifiers all 1":               file("cmyk", encoding{sampling: four, ids: []byte{1, 1, 1, 1}, head: adobe(0), tables: true}),
		"CMYK without Adobe":                   file("cmyk", encoding{sampling: four, tables: true}),
		"CMYK without Adobe, with JFIF":        file("cmyk", encoding{sampling: four, head: jfif(), tables: true}),
		"CMYK without Adobe, identifiers":      file("cmyk", encoding{sampling: four, ids: []byte("CMYK"), tables: true}),
		"CMYK without tables":                  file("cmyk", encoding{sampling: four}),
		"CMYK subsampled":                      file("cmyk", encoding{sampling: []string{"2x2", "1x1", "1x1", "2x2"}, head: adobe(0), tables: true}),
		"CMYK subsampled otherwise":            file("cmyk", encoding{sampling: []string{"1x2", "1x1", "2x1", "1x1"}, head: adobe(0), tables: true}),
		"YCCK":                                 file("ycck", encoding{sampling: []string{"2x2", "1x1", "1x1", "2x2"}, head: adobe(2), tables: true}),
		"YCCK by Adobe's transform 1":          file("ycck", encoding{sampling: four, head: adobe(1), tables: true}),
		"YCCK in several scans":                file("ycck", encoding{sampling: []string{"2x2", "1x1", "1x1", "2x2"}, head: adobe(2), scans: [][]int{{0, 3}, {1}, {2}}, tables: true}),
		"empty segments":                       file("ycbcr", encoding{sampling: ycc, head: slices.Concat(segment(markerCOM), segment(markerAPP0), segment(markerAPP0+1), segment(markerAPP14), segment(markerDQT), segment(markerDHT), jfif()), afterScan: segment(markerCOM), tables: true}),
		"segments of lengths 0 and 1":          file("ycbcr", encoding{sampling: ycc, head: append([]byte{0xff, markerCOM, 0, 0, 0xff, markerAPP0, 0, 1}, jfif()...), tables: true}),
		"fill bytes before markers":            slices.Concat(plain[:2], []byte{0xff, 0xff, 0xff}, plain[2:len(plain)-2], []byte{0xff, 0xff}, plain[len(plain)-2:]),
		"stray bytes between segments":         slices.Concat(plain[:2], []byte("stray\xff\x00"), plain[2:]),
		"a stuffed byte after fill bytes":      slices.Concat(plain[:2], []byte{0xff, 0xff, 0}, plain[2:]),
		"fill bytes before a stuffed byte":     bytes.ReplaceAll(plain, []byte{0xff, 0}, []byte{0xff, 0xff, 0xff, 0}),
		"markers without a segment":            slices.Concat(plain[:2], []byte{0xff, markerTEM, 0xff, markerRST0}, plain[2:]),
		"the height again":                     file("ycbcr", encoding{sampling: ycc, afterScan: segment(markerDNL, 0, 61), tables: true}),
		"another height":                       file("ycbcr", encoding{sampling: ycc, afterScan: segment(markerDNL, 0, 9), tables: true}),
		"conditioning of arithmetic coding":    slices.Concat(plain[:2], segment(markerDAC, 0, 0x10), plain[2:]),
		"a restart at the end":                 append(bytes.Clone(plain[:len(plain)-2]), 0xff, markerRST0, 0xff, markerEOI),
		"a quantization table of precision 2":  bytes.Replace(plain, append([]byte{0xff, markerDQT, 0, 67}, plain[bytes.Index(plain, []byte{0xff, markerDQT})+4:][:65]...), wideQuant(plain), 1),
		"large sampling in scans of their own": file("ycbcr", encoding{sampling: []string{"4x4", "2x2", "1x1"}, scans: apart(3), tables: true}),
	}
	for _, kind := range kinds {
		if bytes.Count(kind, []byte{0xff, markerSOS}) == 0 {
			t.Fatal("a file without a scan")
		}
	}
	for name, data := range kinds {
		checkKind(t, name, data)
		if cut := data[:len(data)-2]; len(cut) > 0 {
			checkKind(t, name+", no end", cut)
			checkKind(t, name+", other data at the end", append(bytes.Clone(cut), "\x00\x00SEFT"...))
		}
	}
}

// wideQuant returns the quantization table of a file with 16 bits an entry and an impossible precision.
func wideQuant(data []byte) []byte {
	at := bytes.Index(data, []byte{0xff, markerDQT}) + 5
	payload := []byte{0x20}
	for _, q := range data[at : at+64] {
		payload = append(payload, 0, q)
	}
	return segment(markerDQT, payload...)
}

// TestAnEighthIsExact compares bit for bit. It covers luma in sampling factors that cjpeg's other test does not
// have, and the samples of RGB and CMYK that are not subsampled; libjpeg-turbo rounds the product of two inks.
func TestAnEighthIsExact(t *testing.T) {
	libjpeg(t)
	m := photo(83, 61)
	size := m.Rect.Size()
	for _, sampling := range factorsOf(3) {
		if h, v := sampling[0][0], sampling[0][2]; sampling[1][0] > h || sampling[2][0] > h || sampling[1][2] > v || sampling[2][2] > v || h < '3' && v < '3' {
			continue
		}
		e := encoding{sampling: sampling, tables: true, head: jfif(), height: -1}
		if blocksOf(sampling) > 10 {
			e.scans = apart(3)
		}
		checkLuma(t, fmt.Sprint(sampling), encodePlanes(e, planesOf(m, "ycbcr"), size))
	}
	four := []string{"1x1", "1x1", "1x1", "1x1"}
	for model, e := range map[string]encoding{
		"rgb":  {sampling: four[:3], ids: []byte("RGB"), tables: true, height: -1},
		"cmyk": {sampling: four, tables: true, height: -1},
	} {
		data := encodePlanes(e, planesOf(m, model), size)
		for _, data := range [][]byte{data, jpegtran(t, data, "-progressive -copy all")} {
			want, _ := djpegColor(t, data, 8)
			got := decode(t, data, 8)
			for y := range want.Rect.Dy() {
				for x := range want.Rect.Dx() {
					a, b := color.RGBAModel.Convert(got.At(x, y)).(color.RGBA), want.RGBAAt(x, y)
					if d := max(int(a.R)-int(b.R), int(b.R)-int(a.R), int(a.G)-int(b.G), int(b.G)-int(a.G), int(a.B)-int(b.B), int(b.B)-int(a.B)); d > len(e.sampling)-3 {
						t.Fatalf("%s: pixel %d,%d is %v, want %v", model, x, y, a, b)
					}
				}
			}
		}
	}
}

// TestMemoryIsWithinTheHeadersBound compares the allocations for rare sampling factors with the memory that is
// reserved for an image at a scale.
func TestMemoryIsWithinTheHeadersBound(t *testing.T) {
	libjpeg(t)
	m := photo(480, 350)
	for _, c := range []struct {
		model    string
		sampling []string
		head     []byte
	}{
		{"ycbcr", []string{"1x1", "2x2", "1x1"}, jfif()}, {"ycbcr", []string{"3x1", "1x1", "1x1"}, jfif()},
		{"ycbcr", []string{"2x4", "1x1", "1x1"}, jfif()}, {"ycbcr", []string{"1x1", "1x1", "2x1"}, jfif()},
		{"ycbcr", []string{"2x2", "1x1", "1x1"}, jfif()}, {"rgb", []string{"2x2", "1x1", "1x1"}, adobe(0)},
		{"cmyk", []string{"1x1", "1x1", "1x1", "1x1"}, nil}, {"cmyk", []string{"1x2", "1x1", "2x1", "1x1"}, nil},
		{"ycck", []string{"2x2", "1x1", "1x1", "2x2"}, adobe(2)}, {"ycck", []string{"2x2", "1x1", "1x1", "1x1"}, adobe(2)},
	} {
		data := encodePlanes(encoding{sampling: c.sampling, head: c.head, tables: true, height: -1}, planesOf(m, c.model), m.Rect.Size())
		progressive := jpegtran(t, data, "-progressive -copy all")
		for kind, data := range map[string][]byte{"": data, " progressive": progressive, " progressive, no end": progressive[:len(progressive)-2]} {
			h, err := imagefile.Read(data, imagefile.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, scale := range []int{1, 8} {
				most := h.DecodedBytes()/int64(scale*scale) + 160_000
				if h.Unterminated {
					most *= 3 // reserved by the caller
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				decode(t, data, scale)
				runtime.ReadMemStats(&after)
				if used := int64(after.TotalAlloc - before.TotalAlloc); used > most {
					t.Errorf("%s %v%s at 1/%d: %d bytes, want at most %d", c.model, c.sampling, kind, scale, used, most)
				}
			}
		}
	}
}

// TestHeightAfterTheFirstScan compares with the same file whose frame header contains the height. libjpeg-turbo
// does not support it.
func TestHeightAfterTheFirstScan(t *testing.T) {
	m := photo(83, 61)
	planes := planesOf(m, "ycbcr")
	e := encoding{sampling: []string{"2x2", "1x1", "1x1"}, scans: apart(3), tables: true, height: -1}
	whole := encodePlanes(e, planes, m.Rect.Size())
	e.height, e.afterScan = 0, segment(markerDNL, 0, 61)
	later := encodePlanes(e, planes, m.Rect.Size())
	e.afterScan = append(segment(markerCOM), e.afterScan...)
	tooLate := encodePlanes(e, planes, m.Rect.Size())
	e.afterScan = nil
	never := encodePlanes(e, planes, m.Rect.Size())
	atEnd := slices.Concat(never[:len(never)-2], segment(markerDNL, 0, 61), never[len(never)-2:])
	e.afterScan = segment(markerDNL, 0, 0)
	zero := encodePlanes(e, planes, m.Rect.Size())
	for _, scale := range scales {
		got, want := decode(t, later, scale).(*image.YCbCr), decode(t, whole, scale).(*image.YCbCr)
		if got.Rect != want.Rect || !bytes.Equal(got.Y, want.Y) || !bytes.Equal(got.Cr, want.Cr) {
			t.Errorf("1/%d: %v, want the same samples as of %v", scale, got.Rect, want.Rect)
		}
		for name, data := range map[string][]byte{"behind a comment": tooLate, "behind the last scan": atEnd, "never": never, "zero": zero} {
			if _, _, err := Decode(t.Context(), data, scale); !errors.Is(err, errNoHeight) {
				t.Errorf("%s at 1/%d: %v", name, scale, err)
			}
		}
	}
}

// TestMissingEnd verifies that an image is accepted without its end-of-image marker if all its scans are
// complete, also where they would be skipped, and rejected if anything is missing.
func TestMissingEnd(t *testing.T) {
	libjpeg(t)
	m := ppm(photo(83, 61))
	for _, args := range [...]string{"", "-grayscale", "-restart 3B", "-progressive", "-progressive -restart 2B", "-progressive -grayscale"} {
		data := cjpeg(t, m, args)
		progressive := strings.Contains(args, "progressive")
		for _, scale := range scales {
			whole := decode(t, data, scale)
			for name, tail := range map[string]string{
				"nothing": "", "half a marker": "\xff", "zeros": "\x00\x00\x00", "a trailer": "\x00\x00\x01\x0aSEFH\x6b\x00\x00\x00SEFT",
				"an unknown marker": "\xff\x02\x00\x04abcd", "another image": "\xff\xd8\xff\xe0\x00\x10JFIF\x00", "a segment cut short": "\xff\xe1\xff\xffExif",
				"a scan header cut short": "\xff\xda\x00\x0c\x03", "a scan of another image": "\xff\xda\x00\x08\x01\x77\x00\x00\x3f\x00",
			} {
				got, checked, err := Decode(t.Context(), append(bytes.Clone(data[:len(data)-2]), tail...), scale)
				if err != nil || checked != Full {
					t.Errorf("%s, %s at 1/%d: checked %q, %v", args, name, scale, checked, err)
				} else if !samePixels(got, whole) {
					t.Errorf("%s, %s at 1/%d: other pixels", args, name, scale)
				}
			}
			for _, missing := range []int{4, 9, 40, 200} {
				if _, _, err := Decode(t.Context(), data[:len(data)-2-missing], scale); err == nil {
					t.Errorf("%s at 1/%d: accepted without its last %d bytes", args, scale, missing)
				}
			}
			// Where scans are skipped, only the end-of-image marker shows that the last one is complete.
			other := append(bytes.Clone(data[:len(data)-2]), "\xff\x02\x00\x04ab\xff\xd9"...)
			if _, _, err := Decode(t.Context(), other, scale); (err != nil) != (progressive && scale == 8) {
				t.Errorf("%s, an unknown marker before the end at 1/%d: %v", args, scale, err)
			}
			if last := bytes.LastIndex(data, []byte{0xff, markerSOS}); progressive {
				// Every scan before the last one is complete.
				last = bytes.LastIndex(data[:last], []byte{0xff, markerDHT})
				if _, _, err := Decode(t.Context(), data[:last], scale); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s at 1/%d without its last scan: %v", args, scale, err)
				}
			}
		}
	}
}

func samePixels(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				return false
			}
		}
	}
	return true
}

// TestFractionalSamplingIsRefused verifies that libjpeg-turbo rejects these too.
func TestFractionalSamplingIsRefused(t *testing.T) {
	libjpeg(t)
	m := photo(33, 31)
	for _, sampling := range [...][]string{{"3x1", "2x1", "1x1"}, {"1x3", "1x1", "1x2"}, {"2x1", "3x1", "3x1"}, {"4x1", "3x1", "1x1"}} {
		data := encodePlanes(encoding{sampling: sampling, tables: true, height: -1}, planesOf(m, "rgb"), m.Rect.Size())
		if want, _ := djpegColor(t, data, 1); want != nil {
			t.Errorf("libjpeg-turbo accepts %v", sampling)
		}
		for _, scale := range scales {
			if _, _, err := Decode(t.Context(), data, scale); !errors.Is(err, errFractional) {
				t.Errorf("%v at 1/%d: %v", sampling, scale, err)
			}
		}
	}
}
