package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"runtime"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func chunk(kind string, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = append(append(b, kind...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// withChunk inserts a chunk directly after the IHDR of a PNG.
func withChunk(png []byte, kind string, payload []byte) []byte {
	const ihdrEnd = 8 + 25
	out := append(bytes.Clone(png[:ihdrEnd]), chunk(kind, payload)...)
	return append(out, png[ihdrEnd:]...)
}

func ihdr(width, height uint32, depth, colorType, interlace byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, width)
	b = binary.BigEndian.AppendUint32(b, height)
	return append(b, depth, colorType, 0, 0, interlace)
}

func pngOf(chunks ...[]byte) []byte {
	return append([]byte("\x89PNG\r\n\x1a\n"), bytes.Join(chunks, nil)...)
}

func segment(marker byte, payload ...byte) []byte {
	b := []byte{0xff, marker}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)+2))
	return append(b, payload...)
}

func sof(marker, precision byte, width, height uint16, sampling ...byte) []byte {
	p := []byte{precision}
	p = binary.BigEndian.AppendUint16(p, height)
	p = binary.BigEndian.AppendUint16(p, width)
	p = append(p, byte(len(sampling)))
	for i, hv := range sampling {
		p = append(p, byte(i+1), hv, 0)
	}
	return segment(marker, p...)
}

func sos(components ...byte) []byte {
	p := []byte{byte(len(components))}
	for _, c := range components {
		p = append(p, c, 0)
	}
	return segment(0xda, append(p, 0, 63, 0)...)
}

func jpegOf(parts ...[]byte) []byte {
	return append(append([]byte{0xff, 0xd8}, bytes.Join(parts, nil)...), 0xff, 0xd9)
}

func TestJPEGStructure(t *testing.T) {
	pixels := []byte("entropy\xff\x00coded\xff\xd0data")
	gray := sof(0xc0, 8, 16, 16, 0x11)
	for _, c := range []struct {
		name string
		data []byte
		code string // "" if it is accepted
		text string
	}{
		{"the smallest", jpegOf(gray, sos(1), pixels), "", ""},
		{"stray bytes and fill bytes between segments", jpegOf(gray, []byte("stray"), []byte{0xff, 0xff}, sos(1), pixels), "", ""},
		{"three scans", jpegOf(sof(0xc0, 8, 16, 16, 0x22, 0x11, 0x11), sos(1), pixels, sos(2), pixels, sos(3), pixels), "", ""},
		{"no scan", jpegOf(gray), pipeline.CodeDamaged, "Damaged JPEG: holds no picture"},
		{"no frame", jpegOf(sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: a scan comes before the frame header"},
		{"color without a scan", jpegOf(sof(0xc0, 8, 16, 16, 0x22, 0x11, 0x11), sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: a part of its colours is missing"},
		{"scan of an unknown component", jpegOf(gray, sos(7), pixels), pipeline.CodeDamaged, "Damaged JPEG: a scan is of an unknown component"},
		{"no end", bytes.TrimSuffix(jpegOf(gray, sos(1), pixels), []byte{0xff, 0xd9}), "", ""},
		{"no end, and a web page", append(jpegOf(gray, sos(1), pixels)[:45], "<SCRIPT>"...), pipeline.CodeNotAnImage, "Not only an image: markup follows the picture"},
		{"no end, and a PDF document", append(bytes.TrimSuffix(jpegOf(gray, sos(1), pixels, make([]byte, 2000)), []byte{0xff, 0xd9}), "%PDF-"...), pipeline.CodeNotAnImage, "Not only an image: a PDF document follows the picture"},
		{"no end before the scans are complete", jpegOf(sof(0xc0, 8, 16, 16, 0x22, 0x11, 0x11), sos(1), pixels, sos(2), pixels)[:70], pipeline.CodeDamaged, "Damaged JPEG: ends before its end-of-image marker"},
		{"other data in place of the end", jpegOf(gray, sos(1), pixels, segment(0x02), []byte("SEFT")), "", ""},
		{"another image in place of the end", jpegOf(gray, sos(1), pixels, []byte{0xff, 0xd8}), "", ""},
		{"too many scans before no end", bytes.TrimSuffix(scanBomb(101), []byte{0xff, 0xd9}), pipeline.CodeTooManyPixels, "Too many pixels: more than 100 scans"},
		{"two frames", jpegOf(gray, gray, sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: more than one frame"},
		{"height later", jpegOf(sof(0xc0, 8, 16, 0, 0x11), sos(1), pixels, segment(0xdc, 0, 16)), "", ""},
		{"height behind a comment", jpegOf(sof(0xc0, 8, 16, 0, 0x11), sos(1), pixels, segment(0xfe), segment(0xdc, 0, 16)), pipeline.CodeDamaged, "Damaged JPEG: it is 0 pixels high"},
		{"no height", jpegOf(sof(0xc0, 8, 16, 0, 0x11), sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: it is 0 pixels high"},
		{"a height too large, later", jpegOf(sof(0xc0, 8, 16, 0, 0x11), sos(1), pixels, segment(0xdc, 0xff, 0xff)), pipeline.CodeTooManyPixels, "Too many pixels: 16×65535 has a side over 20000 pixels"},
		{"the height again", jpegOf(gray, sos(1), pixels, segment(0xdc, 0, 16)), "", ""},
		{"no width", jpegOf(sof(0xc0, 8, 0, 16, 0x11), sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: it is 0 pixels wide"},
		{"12 bits", jpegOf(sof(0xc1, 12, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: 12 bits per sample"},
		{"lossless", jpegOf(sof(0xc3, 8, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: lossless coding"},
		{"arithmetic", jpegOf(sof(0xc9, 8, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: arithmetic coding"},
		{"differential", jpegOf(sof(0xc5, 8, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: differential coding"},
		{"hierarchical", jpegOf(segment(0xde, 0), gray, sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: hierarchical coding"},
		{"JPEG-LS", jpegOf(sof(0xf7, 8, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported image format: JPEG-LS (supported: JPEG, PNG)"},
		{"200 components", jpegOf(sof(0xc0, 8, 16, 16, bytes.Repeat([]byte{0x11}, 200)...), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: 200 colour components"},
		{"CMYK without Adobe", jpegOf(sof(0xc0, 8, 16, 16, 0x11, 0x11, 0x11, 0x11), sos(1, 2, 3, 4), pixels), "", ""},
		{"sampling of three", jpegOf(sof(0xc0, 8, 16, 16, 0x31, 0x11, 0x11), sos(1, 2, 3), pixels), "", ""},
		{"sampling of three and two", jpegOf(sof(0xc0, 8, 16, 16, 0x31, 0x21, 0x11), sos(1, 2, 3), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: its subsampling"},
		{"sampling of five", jpegOf(sof(0xc0, 8, 16, 16, 0x51, 0x11, 0x11), sos(1, 2, 3), pixels), pipeline.CodeDamaged, "Damaged JPEG: impossible sampling factors"},
		{"components of one number", jpegOf(segment(0xc0, 8, 0, 16, 0, 16, 3, 1, 0x22, 0, 1, 0x11, 0, 1, 0x11, 0), sos(1, 1, 1), pixels), "", ""},
		{"components of one number in scans of their own", jpegOf(segment(0xc0, 8, 0, 16, 0, 16, 3, 1, 0x22, 0, 1, 0x11, 0, 1, 0x11, 0), sos(1), pixels, sos(1), pixels, sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: a part of its colours is missing"},
		{"a component twice in a scan", jpegOf(sof(0xc0, 8, 16, 16, 0x11, 0x11, 0x11), sos(1, 1, 2), pixels), pipeline.CodeDamaged, "Damaged JPEG: a scan is of an unknown component"},
		{"empty segments", jpegOf(segment(0xfe), segment(0xe0), segment(0xe1), segment(0xee), segment(0xc4), segment(0xdb), gray, segment(0xfe), sos(1), pixels, segment(0xed)), "", ""},
		{"a marker without a segment", jpegOf([]byte{0xff, 0x01}, gray, []byte{0xff, 0xd3}, sos(1), pixels), "", ""},
		{"a stuffed byte after fill bytes", jpegOf(gray, sos(1), pixels, []byte{0xff, 0xff, 0}, pixels), "", ""},
		{"conditioning of arithmetic coding", jpegOf(segment(0xcc), gray, sos(1), pixels), "", ""},
		{"arithmetic, progressive", jpegOf(sof(0xca, 8, 16, 16, 0x11), sos(1), pixels), pipeline.CodeUnsupportedFormat, "Unsupported JPEG: arithmetic coding"},
		{"two images without an end between", jpegOf(gray, []byte{0xff, 0xd8}, sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: a second picture begins before the end of the first"},
		{"segments of length 0 and 1", jpegOf([]byte{0xff, 0xe0, 0, 1, 0xff, 0xfe, 0, 0}, gray, sos(1), pixels), "", ""},
		{"a table of length 1", jpegOf([]byte{0xff, 0xdb, 0, 1}, gray, sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: segment 0xdb has an impossible length"},
		{"16 MP from a few bytes", jpegOf(sof(0xc0, 8, 4000, 4000, 0x11), sos(1), pixels), pipeline.CodeDamaged, "Damaged JPEG: holds too little data for its size"},
		{"a side too long", jpegOf(sof(0xc0, 8, 20001, 1, 0x11), sos(1), pixels), pipeline.CodeTooManyPixels, "Too many pixels: 20001×1 has a side over 20000 pixels"},
		{"segments only", jpegOf(bytes.Repeat(segment(0xfe, 1), 100_000)), pipeline.CodeDamaged, "Damaged JPEG: holds no picture"},
		{"too many pixels", jpegOf(sof(0xc0, 8, 10000, 5001, 0x11), sos(1), pixels), pipeline.CodeTooManyPixels, "Too many pixels: 10000×5001 is over 50000000 in all"},
	} {
		t.Run(c.name, func(t *testing.T) { checkVerdict(t, c.data, c.code, c.text) })
	}
}

func TestPNGStructure(t *testing.T) {
	header := chunk("IHDR", ihdr(4, 4, 8, 2, 0))
	pixels, end := chunk("IDAT", make([]byte, 20)), chunk("IEND", nil)
	palette := chunk("IHDR", ihdr(4, 4, 8, 3, 0))
	for _, c := range []struct {
		name string
		data []byte
		code string
		text string
	}{
		{"the smallest", pngOf(header, pixels, end), "", ""},
		{"with a palette", pngOf(palette, chunk("PLTE", make([]byte, 6)), chunk("tRNS", []byte{0}), pixels, end), "", ""},
		{"no IHDR", pngOf(pixels, end), pipeline.CodeDamaged, "Damaged PNG: its IHDR chunk is not the first and only one"},
		{"two IHDR", pngOf(header, header, pixels, end), pipeline.CodeDamaged, "Damaged PNG: its IHDR chunk is not the first and only one"},
		{"no IDAT", pngOf(header, end), pipeline.CodeDamaged, "Damaged PNG: holds no picture"},
		{"no IEND", pngOf(header, pixels), pipeline.CodeDamaged, "Damaged PNG: ends before its IEND chunk"},
		{"no palette", pngOf(palette, pixels, end), pipeline.CodeDamaged, "Damaged PNG: its palette is missing"},
		{"impossible depth", pngOf(chunk("IHDR", ihdr(4, 4, 4, 2, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: impossible bit depth 4 for colour type 2"},
		{"no width", pngOf(chunk("IHDR", ihdr(0, 4, 8, 2, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: impossible size 0×4"},
		{"negative height", pngOf(chunk("IHDR", ihdr(4, 1<<31, 8, 2, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: impossible size 4×2147483648"},
		{"unknown interlacing", pngOf(chunk("IHDR", ihdr(4, 4, 8, 2, 2)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: unknown compression, filter or interlace method"},
		{"chunk longer than the file", pngOf(header, []byte("\x7f\xff\xff\xffIDAT"), make([]byte, 30)), pipeline.CodeDamaged, "Damaged PNG: ends before its IEND chunk"},
		{"chunk of no name", pngOf(header, chunk("1DAT", nil), pixels, end), pipeline.CodeDamaged, "Damaged PNG: a chunk has an impossible name"},
		{"392 MB from 20 bytes", pngOf(chunk("IHDR", ihdr(7000, 7000, 16, 6, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: holds too little data for its size"},
		{"a first chunk of another name", pngOf(chunk("IHDS", ihdr(4, 4, 8, 2, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: its IHDR chunk is not the first and only one"},
		{"an IHDR of 2^31-1 bytes", pngOf([]byte("\x7f\xff\xff\xffIHDR"), make([]byte, 30)), pipeline.CodeDamaged, "Damaged PNG: ends before its IEND chunk"},
		{"an IHDR of 2^32-1 bytes", pngOf([]byte("\xff\xff\xff\xffIHDR"), make([]byte, 30)), pipeline.CodeDamaged, "Damaged PNG: chunk IHDR has an impossible length"},
		{"depth 255", pngOf(chunk("IHDR", ihdr(4, 4, 255, 6, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: impossible bit depth 255 for colour type 6"},
		{"colour type 255", pngOf(chunk("IHDR", ihdr(4, 4, 8, 255, 0)), pixels, end), pipeline.CodeDamaged, "Damaged PNG: impossible bit depth 8 for colour type 255"},
		{"a side too long", pngOf(chunk("IHDR", ihdr(1, 20001, 8, 0, 0)), pixels, end), pipeline.CodeTooManyPixels, "Too many pixels: 1×20001 has a side over 20000 pixels"},
		{"too many pixels", pngOf(chunk("IHDR", ihdr(7072, 7072, 8, 2, 0)), pixels, end), pipeline.CodeTooManyPixels, "Too many pixels: 7072×7072 is over 50000000 in all"},
	} {
		t.Run(c.name, func(t *testing.T) { checkVerdict(t, c.data, c.code, c.text) })
	}
}

func checkVerdict(t *testing.T, data []byte, code, text string) {
	t.Helper()
	_, err := imagefile.Read(data, imagefile.Limits{})
	if code == "" {
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := image.DecodeConfig(bytes.NewReader(data)); err != nil && !bytes.HasPrefix(data, []byte{0xff, 0xd8}) {
			t.Errorf("accepted, but image.DecodeConfig returns %v", err)
		}
		return
	}
	if f := failure(t, err); f.Code != code || f.Text != text {
		t.Errorf("got %s %q, want %s %q", f.Code, f.Text, code, text)
	}
}

// scanBomb returns a progressive JPEG of 16 MP whose scans are a few bytes each.
func scanBomb(scans int) []byte {
	parts := [][]byte{sof(0xc2, 8, 4000, 4000, 0x11)}
	for range scans {
		parts = append(parts, segment(0xda, 1, 1, 0, 1, 63, 0), bytes.Repeat([]byte{0x55}, 50))
	}
	return jpegOf(parts...)
}

func TestBombsAreRefusedForNothing(t *testing.T) {
	// The 68 bytes of the second one make image/png allocate 4.8 GB.
	deflated := chunk("IDAT", make([]byte, 11))
	for name, data := range map[string][]byte{
		"1000 scans":      scanBomb(1000),
		"PNG of 600 MP":   pngOf(chunk("IHDR", ihdr(20_000, 30_000, 16, 6, 0)), deflated, chunk("IEND", nil)),
		"PNG of 2^62":     pngOf(chunk("IHDR", ihdr(1<<31-1, 1<<31-1, 16, 6, 1)), deflated, chunk("IEND", nil)),
		"JPEG of 65 kpx²": jpegOf(sof(0xc2, 8, 65535, 65535, 0x11), sos(1), []byte("data")),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			run := func() { _, err = imagefile.Read(data, imagefile.Limits{}) }
			if allocs := testing.AllocsPerRun(10, run); allocs > 20 {
				t.Errorf("%v allocations, want a handful", allocs)
			}
			if n := allocated(run); n > 16<<10 {
				t.Errorf("%d bytes allocated, want next to none", n)
			}
			if code := failure(t, err).Code; code != pipeline.CodeTooManyPixels {
				t.Errorf("rejected as %s, want too_many_pixels", code)
			}
		})
	}
	if n := len(pngOf(chunk("IHDR", ihdr(1, 1, 16, 6, 0)), deflated, chunk("IEND", nil))); n != 68 {
		t.Errorf("the small bomb has %d bytes, want 68", n)
	}
	if _, err := imagefile.Read(scanBomb(100), imagefile.Limits{}); err == nil || !strings.Contains(err.Error(), "too little data") {
		t.Errorf("100 scans are within the limit, but: %v", err)
	}
}

// allocated returns the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestDecodedBytesMatchesTheDecoders compares with the allocations of the decoders.
func TestDecodedBytesMatchesTheDecoders(t *testing.T) {
	// The decoder's other memory: tables, buffers, inflate's window.
	const overhead = 160 << 10
	for name, data := range goTestdata(t, "testdata/*.jpeg", "testdata/*.png", "png/testdata/pngsuite/*.png") {
		h, err := imagefile.Read(data, imagefile.Limits{})
		if err != nil {
			continue
		}
		used := int64(allocated(func() {
			if _, _, err := image.Decode(bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}))
		if used > h.DecodedBytes()+overhead || used < h.DecodedBytes()*9/10 { // our decoder enlarges subsampled planes of RGB
			t.Errorf("%s: the decoder allocates %d bytes, DecodedBytes returns %d", name, used, h.DecodedBytes())
		}
	}
}

// worstCases are files of a size that make the walk take its smallest steps.
func worstCases(size int) map[string][]byte {
	fill := func(head []byte, unit string) []byte {
		return append(head, bytes.Repeat([]byte(unit), (size-len(head))/len(unit))...)
	}
	gray := append([]byte{0xff, 0xd8}, sof(0xc0, 8, 16, 16, 0x11)...)
	return map[string][]byte{
		"jpeg stuffed bytes":  fill(append(bytes.Clone(gray), sos(1)...), "\xff\x00"),
		"jpeg restarts":       fill(append(bytes.Clone(gray), sos(1)...), "\xff\xd0"),
		"jpeg fill bytes":     fill(bytes.Clone(gray), "\xff"),
		"jpeg empty segments": fill(bytes.Clone(gray), "\xff\xe2\x00\x02"),
		"png empty chunks":    fill(pngOf(chunk("IHDR", ihdr(4, 4, 8, 2, 0))), string(chunk("aaAa", nil))),
		"png one long chunk":  pngOf(chunk("IHDR", ihdr(4, 4, 8, 2, 0)), chunk("IDAT", make([]byte, size-80)), chunk("IEND", nil)),
		"text":                fill(nil, "<a "),
	}
}

func TestWorkAllocatesNothingHoweverLongTheFile(t *testing.T) {
	for name, data := range worstCases(2 << 20) {
		run := func() { _, _ = imagefile.Read(data, imagefile.Limits{}) }
		if n := allocated(run); n > 12<<10 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// BenchmarkWorstCases measures the smallest steps through 10 MiB, which must take less than 50 ms.
func BenchmarkWorstCases(b *testing.B) {
	for name, data := range worstCases(10 << 20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = imagefile.Read(data, imagefile.Limits{})
			}
		})
	}
}
