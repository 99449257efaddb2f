package colorprofile

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// near reports whether two colors differ by at most two levels.
func near(a, b [3]byte) bool {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d > 2 || d < -2 {
			return false
		}
	}
	return true
}

func apply(t *Transform, pixel ...byte) [3]byte {
	pixel = append(pixel, 77)[:4]
	t.Apply(pixel)
	return [3]byte(pixel)
}

func parse(t *testing.T, data []byte) *Transform {
	t.Helper()
	transform, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return transform
}

func cicp(t *testing.T, chunk ...byte) *Transform {
	t.Helper()
	transform, err := CICP(chunk)
	if err != nil {
		t.Fatal(err)
	}
	return transform
}

func adobe(t *testing.T) *Transform {
	t.Helper()
	transform, err := AdobeRGB()
	if err != nil {
		t.Fatal(err)
	}
	return transform
}

func gamma(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// chromaticities returns a cHRM chunk.
func chromaticities(p primaries) []byte {
	var b []byte
	for _, c := range []chromaticity{p[3], p[0], p[1], p[2]} {
		b = binary.BigEndian.AppendUint32(b, uint32(c.x*100_000+0.5))
		b = binary.BigEndian.AppendUint32(b, uint32(c.y*100_000+0.5))
	}
	return b
}

// TestColors verifies colors whose values are known.
func TestColors(t *testing.T) {
	p3 := parse(t, charts()["display-p3"])
	adobe := adobe(t)
	for _, c := range []struct {
		name     string
		t        *Transform
		in, want [3]byte
	}{
		{"sRGB's red in Display P3", p3, [3]byte{234, 51, 35}, [3]byte{255, 0, 0}},
		{"Display P3's red is clipped", p3, [3]byte{255, 0, 0}, [3]byte{255, 0, 0}},
		{"sRGB's green in Adobe RGB", adobe, [3]byte{144, 255, 60}, [3]byte{0, 255, 0}},
		{"Adobe RGB's green is clipped", adobe, [3]byte{0, 255, 0}, [3]byte{0, 255, 0}},
		{"white", adobe, [3]byte{255, 255, 255}, [3]byte{255, 255, 255}},
		{"black", adobe, [3]byte{}, [3]byte{}},
		{"the profile agrees with the constants", parse(t, charts()["adobe-rgb"]), [3]byte{144, 255, 60}, [3]byte{0, 255, 0}},
		{"swapped channels", parse(t, charts()["gbr"]), [3]byte{10, 100, 200}, [3]byte{200, 10, 100}},
		{"cICP of Display P3", cicp(t, 12, 13, 0, 1), [3]byte{234, 51, 35}, [3]byte{255, 0, 0}},
		{"narrow range", cicp(t, 1, 13, 0, 0), [3]byte{16, 235, 126}, [3]byte{0, 255, 128}},
		{"linear cICP", cicp(t, 1, 8, 0, 1), [3]byte{0, 55, 128}, [3]byte{0, 128, 188}},
		{"BT.709 is lighter than sRGB", cicp(t, 1, 1, 0, 1), [3]byte{128, 128, 128}, [3]byte{138, 138, 138}},
		{"BT.709's shadows", cicp(t, 1, 1, 0, 1), [3]byte{10, 10, 10}, [3]byte{23, 23, 23}},
		// 203 cd/m² are 58% in PQ and 75% in HLG (ITU-R BT.2408, table 1).
		{"PQ's reference white", cicp(t, 9, 16, 0, 1), [3]byte{148, 148, 148}, [3]byte{225, 225, 225}},
		{"HLG's reference white", cicp(t, 9, 18, 0, 1), [3]byte{191, 191, 191}, [3]byte{225, 225, 225}},
		{"1,000 cd/m² in PQ", cicp(t, 9, 16, 0, 1), [3]byte{192, 192, 192}, [3]byte{255, 255, 255}},
		{"HLG's white", cicp(t, 9, 18, 0, 1), [3]byte{255, 255, 255}, [3]byte{255, 255, 255}},
	} {
		if got := apply(c.t, c.in[:]...); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestAlpha verifies that RGB and gray keep their alpha, and that CMYK becomes opaque.
func TestAlpha(t *testing.T) {
	for name, want := range map[string]byte{"adobe-rgb": 9, "scanner-mft2": 9, "gray-2.2": 9, "gray-table": 9, "cmyk-mft2": 255} {
		pix := []byte{1, 2, 3, 9}
		parse(t, charts()[name]).Apply(pix)
		if pix[3] != want {
			t.Errorf("%s: alpha %d, want %d", name, pix[3], want)
		}
	}
}

// TestCurveBeyondGrid verifies that a curve that leaves the table is clipped to it.
func TestCurveBeyondGrid(t *testing.T) {
	steep := curves(slices.Repeat([][]byte{para(4, 1, 4, -1, 4, 0, 0, -1)}, 3)...)
	same := curves(slices.Repeat([][]byte{para(0, 1)}, 3)...)
	grid := clut16(3, 2, func(in []float64) [3]float64 { return encodeLab(labOf([3]float64(in))) })
	transform := parse(t, build(4, "RGB ", "Lab ", tag{"A2B0", mAB(3, parts{b: same, a: steep, clut: grid})}))
	if got := apply(transform, 0, 255, 0); !near(got, [3]byte{0, 255, 0}) {
		t.Error(got)
	}
}

// TestIdentity verifies that sRGB in all its forms changes no sample, and that the name of a profile has no effect.
func TestIdentity(t *testing.T) {
	gamma22, err := GammaAndPrimaries(gamma(45455), chromaticities(bt709))
	if err != nil {
		t.Fatal(err)
	}
	srgbPara := para(3, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045)
	for name, transform := range map[string]*Transform{
		"table": parse(t, charts()["srgb"]), "small table": parse(t, build(2, "RGB ", "XYZ ", matrixTags(bt709, tableCurve(64, srgbDecode))...)),
		"tiny table": parse(t, build(2, "RGB ", "XYZ ", matrixTags(bt709, tableCurve(28, srgbDecode))...)),
		"parametric": parse(t, build(4, "RGB ", "XYZ ", matrixTags(bt709, srgbPara)...)),
		"gray":       parse(t, build(4, "GRAY", "XYZ ", tag{"kTRC", srgbPara})),
		"cICP":       cicp(t, 1, 13, 0, 1), "gAMA and cHRM": gamma22,
	} {
		pix := []byte{1, 2, 3, 4, 200, 100, 50, 255}
		transform.Apply(pix)
		if !transform.Identity() || !slices.Equal(pix, []byte{1, 2, 3, 4, 200, 100, 50, 255}) {
			t.Errorf("%s: %v", name, pix)
		}
	}
	for name, profile := range charts() {
		if name != "srgb" && parse(t, profile).Identity() {
			t.Errorf("%s is the identity", name)
		}
	}
	// A gamma of 2.2 without gAMA's tolerance differs from sRGB in the shadows.
	if parse(t, build(2, "RGB ", "XYZ ", matrixTags(bt709, gammaCurve(2.2))...)).Identity() {
		t.Error("a gamma of 2.2 is the identity")
	}
}

// TestGammaAndPrimaries verifies the PNG chunks.
func TestGammaAndPrimaries(t *testing.T) {
	for name, c := range map[string]struct {
		gama, chrm []byte
		in, want   [3]byte
	}{
		"linear":          {gamma(100_000), nil, [3]byte{0, 55, 128}, [3]byte{0, 128, 188}},
		"1.8":             {gamma(55_556), nil, [3]byte{128, 128, 128}, [3]byte{147, 147, 147}},
		"only primaries":  {nil, chromaticities(codePoints[12]), [3]byte{234, 51, 35}, [3]byte{255, 0, 0}},
		"both":            {gamma(45455), chromaticities(codePoints[12]), [3]byte{234, 51, 35}, [3]byte{255, 0, 0}},
		"white is scaled": {nil, chromaticities(primaries{bt709[0], bt709[1], bt709[2], whiteC}), [3]byte{255, 255, 255}, [3]byte{255, 255, 255}},
	} {
		transform, err := GammaAndPrimaries(c.gama, c.chrm)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := apply(transform, c.in[:]...); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	line := primaries{{.1, .1}, {.2, .2}, {.3, .3}, whiteD65}
	for name, c := range map[string][2][]byte{
		"no gamma": {gamma(0)}, "short gAMA": {{1}}, "short cHRM": {nil, {1}}, "white outside": {nil, chromaticities(primaries{bt709[0], bt709[1], bt709[2], {.1, .2}})}, "line": {nil, chromaticities(line)}, "zeros": {nil, make([]byte, 32)},
		"large": {nil, slices.Repeat([]byte{255}, 32)},
	} {
		if transform, err := GammaAndPrimaries(c[0], c[1]); err == nil {
			t.Errorf("%s: %+v", name, transform.Identity())
		}
	}
}

// TestChoose verifies the order of the sources, and that a source that cannot be used is reported and passed over.
func TestChoose(t *testing.T) {
	p3, linear := charts()["display-p3"], gamma(100_000)
	all := Sources{CICP: []byte{1, 8, 0, 1}, Profile: p3, SRGB: true, Gamma: linear, InteropR03: true}
	without := func(change func(*Sources)) Sources {
		s := all
		change(&s)
		return s
	}
	same := [3]byte{200, 100, 50}
	for name, c := range map[string]struct {
		s        Sources
		samples  Space
		want     [3]byte // of 200, 100, 50
		problems string
	}{
		"cICP first":        {all, RGB, apply(cicp(t, 1, 8, 0, 1), same[:]...), ""},
		"then the profile":  {without(func(s *Sources) { s.CICP = nil }), RGB, apply(parse(t, p3), same[:]...), ""},
		"then sRGB":         {without(func(s *Sources) { s.CICP, s.Profile = nil, nil }), RGB, same, ""},
		"then gAMA":         {Sources{Gamma: linear, InteropR03: true}, RGB, apply(cicp(t, 1, 8, 0, 1), same[:]...), ""},
		"then R03":          {Sources{InteropR03: true}, RGB, apply(adobe(t), same[:]...), ""},
		"nothing":           {Sources{}, RGB, same, ""},
		"unspecified cICP":  {without(func(s *Sources) { s.CICP = []byte{2, 2, 0, 1} }), RGB, apply(parse(t, p3), same[:]...), "cICP: "},
		"YCbCr":             {without(func(s *Sources) { s.CICP = []byte{1, 1, 1, 1} }), RGB, apply(parse(t, p3), same[:]...), "cICP: "},
		"damaged":           {Sources{Profile: p3[:200]}, RGB, same, "ICC profile: "},
		"gray for RGB":      {Sources{Profile: charts()["gray-2.2"]}, RGB, same, "ICC profile: unsupported: it is for gray, the image is RGB"},
		"CMYK for gray":     {Sources{Profile: charts()["cmyk-mft1"]}, Gray, same, "ICC profile: "},
		"R03 for CMYK":      {Sources{InteropR03: true}, CMYK, same, "EXIF"},
		"RGB for gray":      {Sources{InteropR03: true}, Gray, apply(adobe(t), same[:]...), ""},
		"sRGB for CMYK too": {Sources{SRGB: true}, CMYK, same, "sRGB: "},
	} {
		transform, problems := Choose(c.s, c.samples)
		got := same
		if transform != nil {
			got = apply(transform, same[:]...)
		}
		text := ""
		if len(problems) > 0 {
			text = problems[0].Error()
		}
		if got != c.want || !strings.HasPrefix(text, c.problems) || (text == "") != (c.problems == "") {
			t.Errorf("%s: %v and %q, want %v and %q", name, got, text, c.want, c.problems)
		}
	}
}

// TestDamaged verifies that damaged profiles are errors, and that those of other kinds are unsupported.
func TestDamaged(t *testing.T) {
	p3, table, modular := charts()["display-p3"], charts()["scanner-mft2"], charts()["scanner-mab"]
	with := func(p []byte, at int, text string) []byte {
		return slices.Concat(p[:at], []byte(text), p[at+len(text):])
	}
	change := func(p []byte, old, replacement string) []byte {
		return []byte(strings.Replace(string(p), old, replacement, 1))
	}
	for name, data := range map[string][]byte{
		"empty": nil, "only a header": p3[:130], "truncated": p3[:len(p3)/2], "no signature": with(p3, 36, "ACSP"), "connection space": with(p3, 20, "RGB "),
		"no matrix": change(p3, "gXYZ", "none"), "no curve": change(p3, "bTRC", "none"), "no table": with(build(2, "CMYK", "Lab "), 0, ""),
		"many tags":      with(p3, 128, "\xff\xff\xff\xff"),
		"black matrix":   build(2, "RGB ", "XYZ ", tag{"rXYZ", xyzTag(0, 0, 0)}, tag{"gXYZ", xyzTag(0, 0, 0)}, tag{"bXYZ", xyzTag(0, 0, 0)}, tag{"rTRC", gammaCurve(2)}, tag{"gTRC", gammaCurve(2)}, tag{"bTRC", gammaCurve(2)}),
		"long curve":     change(charts()["curves"], "curv\x00\x00\x00\x00\x00\x00\x04\x00", "curv\x00\x00\x00\x00\xff\xff\xff\xff"),
		"channels":       change(table, "mft2\x00\x00\x00\x00\x03", "mft2\x00\x00\x00\x00\x04"),
		"outputs":        change(table, "mft2\x00\x00\x00\x00\x03\x03", "mft2\x00\x00\x00\x00\x03\x04"),
		"large grid":     change(table, "mft2\x00\x00\x00\x00\x03\x03\x11", "mft2\x00\x00\x00\x00\x03\x03\xff"),
		"grid of one":    change(table, "mft2\x00\x00\x00\x00\x03\x03\x11", "mft2\x00\x00\x00\x00\x03\x03\x01"),
		"mAB for four":   change(modular, "mAB \x00\x00\x00\x00\x03", "mAB \x00\x00\x00\x00\x04"),
		"mAB without B":  build(4, "RGB ", "Lab ", tag{"A2B0", mAB(3, parts{a: gammaCurve(1)})}),
		"matrix to Lab":  with(p3, 20, "Lab "),
		"CLUT without A": build(4, "RGB ", "Lab ", tag{"A2B0", mAB(3, parts{b: curves(para(0, 1), para(0, 1), para(0, 1)), clut: clut16(3, 2, scanner)})}),
	} {
		if _, err := Parse(data); err == nil || errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"device link": with(p3, 12, "link"), "six inks": with(p3, 16, "6CLR"), "large": make([]byte, MaxBytes+1),
		"parametric": change(p3, "para\x00\x00\x00\x00\x00\x03", "para\x00\x00\x00\x00\x00\x05"), "table": change(table, "mft2", "mpet"),
	} {
		if _, err := Parse(data); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
