package scaledjpeg

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// TestDamageIsFoundWhereImageJPEGFindsIt flips bits throughout sequential files, and cuts the files short and
// appends the end marker again: at each byte of the headers and at one byte in six of the pixels. One of four scales
// checks each damage. FuzzDecode checks that the scales agree.
func TestDamageIsFoundWhereImageJPEGFindsIt(t *testing.T) {
	for _, name := range [...]string{
		"420-restart.jpg", "422-optimized.jpg", "411.jpg", "gray-restart.jpg",
	} {
		data := testFiles(t)[name]
		t.Run(name, func(t *testing.T) {
			n := 0
			check := func(damaged []byte) {
				checkVerdict(t, damaged, scales[n%len(scales)])
				n++
			}
			for i := range data {
				if i > 700 && i%6 != 0 { // behind the headers
					continue
				}
				for _, flip := range [...]byte{0x01, 0x80} {
					damaged := bytes.Clone(data)
					damaged[i] ^= flip
					if c, err := jpeg.DecodeConfig(bytes.NewReader(damaged)); err != nil || c.Width*c.Height < 1<<16 {
						check(damaged)
					}
				}
				check(append(bytes.Clone(data[:i]), 0xff, markerEOI))
			}
		})
	}
}

// file joins the segments of a JPEG.
func file(parts ...[]byte) []byte {
	out := []byte{0xff, markerSOI}
	for _, p := range parts {
		out = append(out, p...)
	}
	return append(out, 0xff, markerEOI)
}

func segment(marker byte, payload ...byte) []byte {
	n := len(payload) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, payload...)
}

// frameOf returns the frame header of a gray image.
func frameOf(marker, width, height byte) []byte {
	return segment(marker, 8, 0, height, 0, width, 1, 1, 0x11, 0)
}

func quantOf(value byte) []byte {
	return segment(markerDQT, append([]byte{0}, bytes.Repeat([]byte{value}, 64)...)...)
}

// tableOf returns a table with the symbols as codes of two bits, from 00 on.
func tableOf(class byte, symbols ...byte) []byte {
	counts := make([]byte, 16)
	counts[1] = byte(len(symbols))
	return segment(markerDHT, append(append([]byte{class << 4}, counts...), symbols...)...)
}

func scanOf(from, to, bits byte, data ...byte) []byte {
	return append(segment(markerSOS, 1, 1, 0, from, to, bits), data...)
}

func TestFaultsAreNamed(t *testing.T) {
	// The codes of the tables: DC 00 no difference, 01 a value of one bit; AC 00 end of block, 01 a value of
	// one bit after no zeros, 10 sixteen zeros.
	dc, ac := tableOf(0, 0, 1), tableOf(1, 0x00, 0x01, 0xf0)
	sequential, progressive := frameOf(markerSOF0, 8, 8), frameOf(markerSOF2, 8, 8)
	q := quantOf(1)
	means := scanOf(0, 0, 0, 0b00_111111)
	interval := segment(markerDRI, 0, 1)
	wide := frameOf(markerSOF2, 24, 8)
	wideMeans := scanOf(0, 0, 0, 0b00_111111, 0xff, 0xd0, 0b00_111111, 0xff, 0xd1, 0b00_111111)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"sound", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), nil},
		{"zeros up to the end", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_01_1_10_1, 0b0_10_00_111)), nil},
		{"bad code", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_11_0000, 0)), errBadCode},
		{"bad code of a DC coefficient", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b11_00_0000)), errBadCode},
		{"too many zeros", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_10_10_10, 0b10_01_1_000)), errBeyondBlock},
		{"a code of progressive scans", file(q, sequential, dc, tableOf(1, 0x10), scanOf(0, 63, 0, 0b00_00_0000)), errReserved},
		{"data too short", file(q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_01_1_01_1&0xfe)), errShort},
		{"no data", file(q, sequential, dc, ac, scanOf(0, 63, 0)), errShort},
		{"a huge difference", file(q, sequential, tableOf(0, 17), ac, scanOf(0, 63, 0, 0, 0, 0)), errDC},
		{"too many codes", file(q, sequential, tableOf(0, 1, 2, 3, 4, 5), ac, scanOf(0, 63, 0, 0)), errTable},
		{"no quantization", file(sequential, dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), errNoQuant},
		{"no AC table of a progressive image", file(q, progressive, dc, means, scanOf(1, 63, 0, 0b00_111111)), errNoTable},
		{"no DC table of a progressive image", file(q, progressive, ac, means), errNoTable},
		{"no table 3", file(q, sequential, dc, ac, segment(markerSOS, 1, 1, 0x30, 0, 63, 0), []byte{0b00_00_1111}), errNoTable},
		{"no table 15", file(q, sequential, dc, ac, segment(markerSOS, 1, 1, 0x0f, 0, 63, 0), []byte{0b00_00_1111}), errNoTable},
		{"table 2 of a baseline image", file(q, sequential, dc, ac, segment(markerDHT, append([]byte{2, 0, 2}, append(make([]byte, 14), 0, 1)...)...), segment(markerSOS, 1, 1, 0x20, 0, 63, 0), []byte{0b00_00_1111}), nil},
		{"an empty table", file(q, sequential, dc, tableOf(1), scanOf(0, 63, 0, 0b00_00_1111)), errEmptyTable},
		{"an empty table that is not used", file(q, sequential, tableOf(0), dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), nil},
		{"no scan", file(q, sequential, dc, ac), errNoScan},
		{"no frame", file(q, dc, ac), errNoFrame},
		{"a scan before the frame", file(q, dc, ac, scanOf(0, 63, 0, 0)), errNoFrame},
		{"no width", file(q, frameOf(markerSOF0, 0, 8), dc, ac, scanOf(0, 63, 0, 0)), errNoWidth},
		{"no height", file(q, frameOf(markerSOF0, 8, 0), dc, ac, scanOf(0, 63, 0, 0)), errNoHeight},
		{"12 bits", file(q, segment(markerSOF1, 12, 0, 8, 0, 8, 1, 1, 0x11, 0)), UnsupportedError("precision")},
		{"lossless", file(q, frameOf(0xc3, 8, 8)), UnsupportedError("lossless coding")},
		{"arithmetic", file(q, frameOf(0xc9, 8, 8)), UnsupportedError("arithmetic coding")},
		{"arithmetic, progressive", file(q, frameOf(0xca, 8, 8)), UnsupportedError("arithmetic coding")},
		{"differential", file(q, frameOf(0xc5, 8, 8)), UnsupportedError("differential coding")},
		{"hierarchical", file(q, segment(0xde, 0)), UnsupportedError("unknown marker")},
		{"conditioning of arithmetic coding in a Huffman image", file(q, segment(markerDAC, 0, 0), sequential, dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), nil},
		{"two components", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 2, 1, 0x11, 0, 2, 0x11, 0)), UnsupportedError("number of components")},
		{"five components", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 5, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0, 5, 0x11, 0)), UnsupportedError("number of components")},
		{"a component too few", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0)), errLength},
		{"factors that do not divide the largest", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 3, 1, 0x31, 0, 2, 0x21, 0, 3, 0x11, 0)), errFractional},
		{"a factor of 0", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 1, 1, 0x01, 0)), FormatError("bad sampling factors")},
		{"a factor of 5", file(q, segment(markerSOF0, 8, 0, 8, 0, 8, 1, 1, 0x15, 0)), FormatError("bad sampling factors")},
		{"two frames", file(q, sequential, sequential, dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), FormatError("multiple SOF markers")},
		{"unknown marker", file(segment(0x02), q, sequential, dc, ac, scanOf(0, 63, 0, 0b00_00_1111)), FormatError("unknown marker")},
		{"progressive", file(q, progressive, dc, ac, means, scanOf(1, 63, 0, 0b00_111111)), nil},
		{"progressive without its means", file(q, progressive, dc, ac, scanOf(1, 63, 0, 0b00_111111)), errNoScan},
		{"an empty skipped scan", file(q, progressive, dc, ac, means, scanOf(1, 63, 0)), errShort},
		{"a restart without an interval", file(q, progressive, dc, ac, means, scanOf(1, 63, 0, 0, 0xff, 0xd0, 0)), errRestart},
		{"restarts", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd0, 7, 0xff, 0xd1, 7)), nil},
		{"a restart at the end", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd0, 7, 0xff, 0xd1, 7, 0xff, 0xd2)), nil},
		{"too many restarts", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd0, 7, 0xff, 0xd1, 7, 0xff, 0xd2, 7, 0xff, 0xd3, 7)), errRestart},
		{"missing restart", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd0, 7)), errShort},
		{"restarts out of order", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd1, 7, 0xff, 0xd0, 7)), errRestart},
		{"nothing between restarts", file(q, wide, dc, ac, interval, wideMeans, scanOf(1, 63, 0, 7, 0xff, 0xd0, 0xff, 0xd1, 7)), errRestart},
		{"a wrong restart of means", file(q, wide, dc, ac, interval, scanOf(0, 0, 0, 0b00_111111, 0xff, 0xd1)), errRestart},
		{"a bad band", file(q, progressive, dc, ac, scanOf(0, 5, 0, 0)), FormatError("bad spectral selection bounds")},
		{"a bad bit", file(q, progressive, dc, ac, scanOf(0, 0, 0x20, 0)), FormatError("bad successive approximation values")},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := Decode(t.Context(), c.data, 8)
			if !errors.Is(err, c.want) || (m == nil) != (c.want != nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestFaultsInProgressiveScansAreFound covers faults in scans that are skipped at 1/8.
func TestFaultsInProgressiveScansAreFound(t *testing.T) {
	head := [][]byte{quantOf(1), frameOf(markerSOF2, 16, 8), tableOf(0, 0, 1), scanOf(0, 0, 0, 0b00_00_1111)}
	// 00 end of band, 01 a value of one bit, 10 sixteen zeros.
	table := tableOf(1, 0x00, 0x01, 0xf0)
	for _, c := range []struct {
		name  string
		scans [][]byte
		want  error
	}{
		{"sound", [][]byte{scanOf(1, 63, 1, 0b01_1_00_00_1), scanOf(1, 63, 0x10, 0b01_1_1_00_01, 0b1_00_11111)}, nil},
		{"bad code", [][]byte{scanOf(1, 63, 0, 0b11_000000)}, errBadCode},
		{"too many zeros", [][]byte{scanOf(1, 20, 0, 0b10_10_0000, 0)}, errBeyondBlock},
		{"data too short", [][]byte{scanOf(1, 63, 0, 0b01_1_01_1_01)}, errShort},
		{"bad code in a refinement", [][]byte{scanOf(1, 63, 1, 0b00_00_1111), scanOf(1, 63, 0x10, 0b11_000000)}, errBadCode},
		{"a run of bands into the next interval", [][]byte{
			tableOf(1, 0x10), segment(markerDRI, 0, 1), scanOf(1, 63, 0, 0b00_1_11111, 0xff, 0xd0, 0b11_000000),
		}, errBadCode},
		{"too many zeros in a refinement", [][]byte{scanOf(1, 20, 1, 0b00_00_1111), scanOf(1, 20, 0x10, 0b10_10_0000, 0)}, errBeyondBlock},
		{"refinement too short", [][]byte{scanOf(1, 63, 1, 0b00_00_1111), scanOf(1, 63, 0x10, 0b01_1_01_1_01)}, errShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts := append(append([][]byte{}, head...), table)
			data := file(append(parts, c.scans...)...)
			for _, scale := range scales {
				want, wantChecked := c.want, Full
				if scale == 8 {
					want, wantChecked = nil, Partial
				}
				_, checked, err := Decode(t.Context(), data, scale)
				if !errors.Is(err, want) || err == nil && checked != wantChecked {
					t.Errorf("1/%d: got %v %s, want %v %s", scale, err, checked, want, wantChecked)
				}
			}
		})
	}
}

func TestOtherScalesAreRefused(t *testing.T) {
	data := encode(t, image.NewGray(image.Rect(0, 0, 8, 8)), 75)
	for _, scale := range [...]int{-1, 0, 3, 16} {
		if m, _, err := Decode(t.Context(), data, scale); err == nil || m != nil {
			t.Errorf("1/%d: %v", scale, m)
		}
	}
}

// TestSeveralCodesAtOnceAreTheSameAsOneByOne reads noise with short codes of many meanings, including long
// values and runs of zeros that end after their block.
func TestSeveralCodesAtOnceAreTheSameAsOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	meanings := [...]byte{0x00, 0xf0, 0x01, 0x0f, 0xff, 0xf1, 0x31, 0x72, 0xe1, 0x10}
	sound := 0
	for n := range 3000 {
		symbols := make([]byte, 4)
		for i := range symbols {
			symbols[i] = meanings[r.IntN(len(meanings))]
		}
		noise := make([]byte, 300)
		for i := range noise {
			noise[i] = byte(r.IntN(255)) // never 0xff
		}
		data := file(quantOf(1), frameOf(markerSOF0, 16, 8), tableOf(0, 0, 1), tableOf(1, symbols...), scanOf(0, 63, 0, noise...))
		scale := scales[n%len(scales)]
		checkVerdict(t, data, scale)
		if _, _, err := Decode(t.Context(), data, scale); err == nil {
			sound++
		}
	}
	if sound < 100 {
		t.Errorf("only %d images are valid", sound)
	}
}
