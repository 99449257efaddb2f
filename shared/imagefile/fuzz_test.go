package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func FuzzJPEG(f *testing.F) {
	small := encodeJPEG(f, gradient(20, 10))
	f.Add(small)
	f.Add(withSegments(small, append([]byte("Exif\x00\x00"), tiff(binary.BigEndian, 3, 6)...)))
	f.Add(scanBomb(3))
	f.Add(jpegOf(sof(0xc0, 8, 16, 16, 0x22, 0x11, 0x11), sos(1, 2, 3), []byte("\xff\x00\xff\xd0.")))
	f.Add(append(append(bytes.Clone(small[:2]), segment(0xed, []byte("Photoshop 3.0\x008BIM")...)...), small[2:]...))
	for _, data := range goTestdata(f, "testdata/video-005.gray.q50*.jpeg", "testdata/*cmyk*.jpeg") {
		f.Add(data)
	}
	f.Fuzz(checkProperties)
}

func FuzzPNG(f *testing.F) {
	f.Add(encodePNG(f, gradient(20, 10)))
	f.Add(withChunk(encodePNG(f, gradient(4, 4)), "eXIf", tiff(binary.LittleEndian, 3, 7)))
	f.Add(withChunk(encodePNG(f, gradient(4, 4)), "iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00<x/>")))
	f.Add(withChunk(encodePNG(f, gradient(4, 4)), "zTXt", []byte("Title\x00\x00stream")))
	f.Add(withChunk(encodePNG(f, gradient(4, 4)), "tEXt", []byte("Raw profile type xmp\x00"+rawProfile("xmp", titled("A")))))
	f.Add(withChunk(encodePNG(f, gradient(4, 4)), "tEXt", []byte("Raw profile type iptc\x00"+rawProfile("iptc", "\x1c\x02\x05\x00\x01x"))))
	f.Add(pngOf(chunk("IHDR", ihdr(4, 4, 8, 2, 0)), chunk("IDAT", []byte("pixels")), chunk("IEND", nil)))
	for _, data := range goTestdata(f, "png/testdata/pngsuite/*.png") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkProperties(t, data)
		// A mutation rarely has a matching checksum, so the same chunks are also tested with correct checksums.
		checkProperties(t, withRightChecksums(data))
	})
}

func withRightChecksums(data []byte) []byte {
	const signature = 8
	if len(data) < signature {
		return data
	}
	out, rest := bytes.Clone(data[:signature]), data[signature:]
	for len(rest) >= 12 {
		n := int64(binary.BigEndian.Uint32(rest))
		if n > int64(len(rest)-12) {
			break
		}
		out = append(out, chunk(string(rest[4:8]), rest[8:8+n])...)
		rest = rest[12+n:]
	}
	return append(out, rest...)
}

// checkProperties verifies the guarantees of Read for arbitrary bytes.
func checkProperties(t *testing.T, data []byte) {
	limits := imagefile.Limits{}
	before := bytes.Clone(data)
	h, err := imagefile.Read(data, limits)
	if !bytes.Equal(data, before) {
		t.Fatal("Read changed its input")
	}
	again, errAgain := imagefile.Read(data, limits)
	if !reflect.DeepEqual(h, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
		t.Fatalf("Read returns %+v, %v and then %+v, %v", h, err, again, errAgain)
	}
	if err != nil {
		f := failure(t, err)
		codes := []string{
			pipeline.CodeNotAnImage, pipeline.CodeUnsupportedFormat, pipeline.CodeDamaged, pipeline.CodeTooManyPixels,
		}
		if !slices.Contains(codes, f.Code) || f.Text == "" || !utf8.ValidString(f.Text) || len(f.Text) > 200 {
			t.Fatalf("no code or text for the client: %s %q", f.Code, f.Text)
		}
		return
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	// The decoders here accept more files than those of the standard library.
	if err == nil && (format != h.Format.Name || config.Width != h.Width || config.Height != h.Height) {
		t.Fatalf("Read returns %s %d×%d, image.DecodeConfig %s %d×%d",
			h.Format, h.Width, h.Height, format, config.Width, config.Height)
	}
	if h.Width < 1 || h.Height < 1 || h.Width > 20_000 || h.Height > 20_000 || h.Width*h.Height > 50_000_000 ||
		h.Scans < 1 || h.Scans > 100 || h.Width*h.Height*h.Scans > 2_000_000_000 {
		t.Fatalf("accepted beyond the limits: %+v", h)
	}
	if h.Orientation < 1 || h.Orientation > 8 || h.Trailing < 0 || h.ColorModel == "" || h.BitDepth < 1 {
		t.Fatalf("impossible header: %+v", h)
	}
	if samples := int64(h.Width) * int64(h.Height); h.DecodedBytes() < samples {
		t.Fatalf("%d bytes for %d pixels", h.DecodedBytes(), samples)
	}
	l, err := imagefile.LayoutOf(data)
	if err != nil || len(l.Blocks) > len(h.Blocks) {
		t.Fatalf("layout %+v, %v", l, err)
	}
	for _, b := range h.Blocks {
		if b.Whole.Start < 2 || b.Data.Start < b.Whole.Start || b.Data.End < b.Data.Start || b.Whole.End < b.Data.End || b.Whole.End > len(data) {
			t.Fatalf("impossible block: %+v", b)
		}
	}
	if same, ok := l.Apply(data, imagefile.Change{}); !ok || !bytes.Equal(same, data) {
		t.Fatal("no change changes the file")
	}
	h.Metadata(data, imagefile.MaxPacket)
	end := len(data) - h.Trailing
	if _, err := imagefile.Read(data[:end], limits); err != nil {
		t.Fatalf("rejected without the %d bytes after it: %v", h.Trailing, err)
	}
	for _, cut := range []int{1, 2, 12, 13, end / 2} {
		if cut > 0 && cut < end {
			if h, err := imagefile.Read(data[:end-cut], limits); err == nil && !h.Unterminated {
				t.Fatalf("accepted without its last %d bytes", cut)
			}
		}
	}
}
