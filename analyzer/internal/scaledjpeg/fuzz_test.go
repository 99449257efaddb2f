package scaledjpeg

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// stricter are errors of images that image/jpeg may accept.
var stricter = []error{errBeyondBlock, errReserved, errTable, errQuantCut, errNoQuant, errNoScan, errNoWidth, errNoHeight}

// FuzzDecode verifies for arbitrary bytes that they are rejected or decoded, a sequential image at every scale
// or at none, to an image of the right size that is no larger in memory; and that image/jpeg agrees.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, photo(24, 16), 70))
	f.Add(encode(f, image.NewGray(image.Rect(0, 0, 9, 9)), 70))
	f.Add(slices.Concat([]byte("\xff\xd8\xff\xdb\x00\x03\x00"), encode(f, photo(24, 16), 70)[2:])) // a table without values
	for _, data := range testFiles(f) {
		if len(data) < 4<<10 {
			f.Add(data)
		}
	}
	small := photo(24, 16)
	for _, e := range []encoding{
		{sampling: []string{"1x1", "2x2", "1x2"}, height: -1},
		{sampling: []string{"2x2", "1x1", "1x1"}, ids: []byte{1, 1, 1}, tables: true, scans: [][]int{{0, 1, 2}}, height: -1},
		{sampling: []string{"3x1", "1x1", "1x1"}, scans: apart(3), afterScan: segment(markerDNL, 0, 16), restart: 2},
		{sampling: []string{"1x1", "1x1", "1x1", "1x1"}, height: -1},
		{sampling: []string{"2x2", "1x1", "1x1", "2x2"}, head: adobe(2), restart: 1, height: -1},
	} {
		model := "ycbcr"
		if len(e.sampling) == 4 {
			model = "ycck"
		}
		f.Add(encodePlanes(e, planesOf(small, model), small.Rect.Size()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if isLarge(data) {
			return
		}
		checkVerdict(t, data, scales[:]...)
	})
}

// checkVerdict compares the results of Decode at some scales and of image/jpeg for a file.
func checkVerdict(t *testing.T, data []byte, at ...int) {
	t.Helper()
	whole, wholeErr := jpeg.Decode(bytes.NewReader(data))
	// In a progressive image, image/jpeg accepts some bad codes, and Decode does not read all scans. With
	// restarts, image/jpeg miscounts the MCUs of a scan of one of several components, so files with several
	// scans are excluded too.
	sequential := !bytes.Contains(data, []byte{0xff, markerSOF2}) && bytes.Count(data, []byte{0xff, markerSOS}) < 2
	var verdicts []error
	for _, scale := range at {
		m, checked, err := Decode(t.Context(), data, scale)
		verdicts = append(verdicts, err)
		if err != nil {
			if m != nil || checked != "" {
				t.Fatalf("got an image in addition to the error %v", err)
			}
			checkSeveralAtOnce(t, nil, data, scale)
			if sequential && wholeErr == nil && !isStricter(err) && len(planes(whole)) > 0 {
				t.Fatalf("1/%d: got %v, but image/jpeg accepts the file", scale, err)
			}
			continue
		}
		if sequential && wholeErr != nil && !libjpegAccepts(t, data) {
			t.Fatalf("1/%d: accepted, but image/jpeg returns %v and libjpeg-turbo finds damage too", scale, wholeErr)
		}
		if sequential && checked != Full {
			t.Fatalf("1/%d: checked is %s for a sequential image", scale, checked)
		}
		checkSize(t, m, data, scale)
		checkSeveralAtOnce(t, m, data, scale)
	}
	if sequential && slices.ContainsFunc(verdicts, func(err error) bool { return (err == nil) != (verdicts[0] == nil) }) {
		t.Fatalf("the scales disagree: %v", verdicts)
	}
}

// isLarge reports whether any frame header in a file has many pixels, or a height that follows later.
func isLarge(data []byte) bool {
	for i := range max(0, len(data)-9) {
		if p := data[i : i+9]; p[0] == 0xff && p[1] >= markerSOF0 && p[1] <= markerSOF2 {
			height, width := int(p[5])<<8|int(p[6]), int(p[7])<<8|int(p[8])
			if height == 0 {
				height = 1 << 10
			}
			if width*height > 1<<18 {
				return true
			}
		}
	}
	for rest := data; ; {
		i := bytes.Index(rest, []byte{0xff, markerDNL, 0, 4})
		if i < 0 || len(rest) < i+6 {
			return false
		}
		if rest[i+4] > 3 {
			return true
		}
		rest = rest[i+4:]
	}
}

// harmless are libjpeg-turbo's warnings of files whose pixels are complete.
var harmless = []string{"Premature end of JPEG file", "extraneous bytes before marker", "Unknown Adobe color transform", "unknown JFIF revision", "Invalid SOS parameters"}

// libjpegAccepts reports whether libjpeg-turbo decodes a file with harmless warnings at most, or with an error
// after the last row. It is true if libjpeg-turbo's programs are missing, and for a height after the first scan,
// which libjpeg-turbo does not support.
func libjpegAccepts(t *testing.T, data []byte) bool {
	t.Helper()
	if _, err := exec.LookPath("djpeg"); err != nil {
		return true
	}
	m, warnings := djpegColor(t, data, 1)
	if m == nil {
		return strings.Contains(warnings, "DNL not supported")
	}
	for line := range strings.Lines(warnings) {
		if !slices.ContainsFunc(harmless, func(s string) bool { return strings.Contains(line, s) }) && strings.HasPrefix(line, "Corrupt") {
			return false
		}
	}
	return true
}

// checkSeveralAtOnce verifies that the tables for large images give the same result.
func checkSeveralAtOnce(t *testing.T, want image.Image, data []byte, scale int) {
	t.Helper()
	d := newDecoder(data, scale)
	d.manyBlocks = 0
	m, _, err := d.decode(t.Context())
	if (err != nil) != (want == nil) || !reflect.DeepEqual(m, want) {
		t.Fatalf("1/%d: with the tables of a large image: %v", scale, err)
	}
}

func isStricter(err error) bool {
	return slices.ContainsFunc(stricter, func(s error) bool { return errors.Is(err, s) })
}

// checkSize verifies the size of an image against its header, and its memory.
func checkSize(t *testing.T, m image.Image, data []byte, scale int) {
	t.Helper()
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return // an image that image/jpeg does not accept
	}
	size := image.Pt((c.Width+scale-1)/scale, (c.Height+scale-1)/scale)
	if m.Bounds() != (image.Rectangle{Max: size}) {
		t.Fatalf("1/%d of %d×%d is %v", scale, c.Width, c.Height, m.Bounds())
	}
	// The planes are padded to MCUs of up to 32×32.
	most := 3 * (size.X + 32/scale) * (size.Y + 32/scale)
	samples := 0
	switch m := m.(type) {
	case *image.YCbCr:
		samples = len(m.Y) + len(m.Cb) + len(m.Cr)
	case *image.Gray:
		samples = len(m.Pix)
	case *image.CMYK:
		most = 4 * size.X * size.Y
		samples = len(m.Pix)
	case *image.RGBA:
		most = 4 * size.X * size.Y
		samples = len(m.Pix)
	}
	if samples == 0 || samples > most {
		t.Fatalf("1/%d of %d×%d has %d samples, more than %d", scale, c.Width, c.Height, samples, most)
	}
	m.At(size.X-1, size.Y-1)
}
