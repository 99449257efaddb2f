package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// goTestdata reads the images that the Go distribution tests its decoders with.
func goTestdata(t testing.TB, patterns ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/image", pattern)) //nolint:staticcheck // The images are next to the sources of the toolchain that runs the test.
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(p)] = data
		}
	}
	if len(files) == 0 {
		t.Skip("the Go distribution here has no image testdata")
	}
	return files
}

func failure(t testing.TB, err error) *pipeline.Failure {
	t.Helper()
	var f *pipeline.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error is %v, not a *pipeline.Failure", err)
	}
	return f
}

func encodeJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gradient(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 7), uint8(y * 5), uint8(x + y), 255})
		}
	}
	return m
}

func TestReadAgreesWithTheDecoders(t *testing.T) {
	for name, data := range goTestdata(t, "testdata/*.jpeg", "testdata/*.png", "png/testdata/pngsuite/*.png") {
		t.Run(name, func(t *testing.T) {
			m, format, decodeErr := image.Decode(bytes.NewReader(data))
			h, err := imagefile.Read(data, imagefile.Limits{})
			// Read may accept a file with damaged pixels. It must accept a file that decodes.
			if err != nil {
				if decodeErr == nil {
					t.Fatalf("Read rejects a file that decodes: %v", err)
				}
				return
			}
			if decodeErr != nil {
				t.Fatalf("Read accepts a file that does not decode: %v", decodeErr)
			}
			if h.Format.Name != format || h.Width != m.Bounds().Dx() || h.Height != m.Bounds().Dy() {
				t.Errorf("Read returns %s %d×%d, the decoder %s %v", h.Format, h.Width, h.Height, format, m.Bounds())
			}
			if want := "image/" + format; h.ContentType() != want {
				t.Errorf("content type %q, want %q", h.ContentType(), want)
			}
			if pix := pixBytes(m); h.DecodedBytes() < pix {
				t.Errorf("DecodedBytes returns %d, the image alone has %d", h.DecodedBytes(), pix)
			}
		})
	}
}

// pixBytes returns the memory size of the pixels of m.
func pixBytes(m image.Image) int64 {
	v := reflect.ValueOf(m).Elem()
	var n int
	for _, field := range []string{"Pix", "Y", "Cb", "Cr", "A"} {
		if f := v.FieldByName(field); f.IsValid() {
			n += f.Len()
		}
	}
	return int64(n)
}

func TestReadReturnsTheHeader(t *testing.T) {
	files := goTestdata(t, "testdata/*.jpeg", "testdata/*.png", "png/testdata/pngsuite/*.png")
	for _, c := range []struct {
		file string
		want imagefile.Header
	}{
		{"video-001.jpeg", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 150, Height: 103, BitDepth: 8, ColorModel: "ycbcr", Scans: 1, Orientation: 1}},
		{"video-001.progressive.jpeg", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 150, Height: 103, BitDepth: 8, ColorModel: "ycbcr", Progressive: true, Scans: 10, Orientation: 1}},
		{"video-001.cmyk.jpeg", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 150, Height: 103, BitDepth: 8, ColorModel: "cmyk", Scans: 1, Orientation: 1}},
		{"video-001.rgb.jpeg", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 150, Height: 103, BitDepth: 8, ColorModel: "rgb", Scans: 1, Orientation: 1}},
		{"video-005.gray.jpeg", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.JPEG}, Width: 150, Height: 103, BitDepth: 8, ColorModel: "gray", Scans: 1, Orientation: 1}},
		{"basn0g16.png", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.PNG}, Width: 32, Height: 32, BitDepth: 16, ColorModel: "gray", Scans: 1, Orientation: 1}},
		{"basn3p02.png", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.PNG}, Width: 32, Height: 32, BitDepth: 2, ColorModel: "palette", Scans: 1, Orientation: 1}},
		{"basn6a08.png", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.PNG}, Width: 32, Height: 32, BitDepth: 8, ColorModel: "rgb", Alpha: true, Scans: 1, Orientation: 1}},
		{"ftbbn2c16.png", imagefile.Header{Layout: imagefile.Layout{Format: imagefile.PNG}, Width: 32, Height: 32, BitDepth: 16, ColorModel: "rgb", Alpha: true, Scans: 1, Orientation: 1}},
	} {
		t.Run(c.file, func(t *testing.T) {
			got, err := imagefile.Read(files[c.file], imagefile.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			// TestReadAgreesWithTheDecoders covers the memory.
			gotPublic := imagefile.Header{
				Layout: imagefile.Layout{Format: got.Format}, Width: got.Width, Height: got.Height, BitDepth: got.BitDepth,
				ColorModel: got.ColorModel, Alpha: got.Alpha, Progressive: got.Progressive,
				Interlaced: got.Interlaced, Scans: got.Scans, Orientation: got.Orientation, Trailing: got.Trailing,
			}
			if !reflect.DeepEqual(gotPublic, c.want) {
				t.Errorf("got  %+v\nwant %+v", gotPublic, c.want)
			}
		})
	}
}

// TestAttackFiles verifies that files of other formats, and images preceded or followed by another file, are
// rejected.
func TestAttackFiles(t *testing.T) {
	jpg, pngFile := encodeJPEG(t, gradient(20, 10)), encodePNG(t, gradient(20, 10))
	join := func(parts ...string) []byte { return []byte(strings.Join(parts, "")) }
	for _, c := range []struct {
		name string
		data []byte
		code string
		text string
	}{
		{"empty", nil, pipeline.CodeNotAnImage, "Not an image: the file is empty"},
		{"text", []byte("hello, world"), pipeline.CodeNotAnImage, "Not an image"},
		{"text that starts like a BMP", []byte("BMW makes cars in Munich."), pipeline.CodeNotAnImage, "Not an image"},
		{"HTML", []byte("<!DOCTYPE html><html><img src=a.jpg></html>"), pipeline.CodeNotAnImage, "Not an image"},
		{"HTML with an SVG", []byte("<html><svg></svg></html>"), pipeline.CodeNotAnImage, "Not an image"},
		{"film", []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00"), pipeline.CodeNotAnImage, "Not an image"},
		{"PDF", []byte("%PDF-1.7\n"), pipeline.CodeNotAnImage, "Not an image"},
		{"zeros", make([]byte, 100), pipeline.CodeNotAnImage, "Not an image"},
		{"SOI alone and text", []byte("\xff\xd8 and then text"), pipeline.CodeNotAnImage, "Not an image"},
		{"PNG magic mangled by a text transfer", []byte("\x89PNG\n\x1a\n"), pipeline.CodeNotAnImage, "Not an image"},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: GIF (supported: JPEG, PNG)"},
		{"GIF with a JPEG inside", join("GIF89a", string(jpg)), pipeline.CodeUnsupportedFormat, "Unsupported image format: GIF (supported: JPEG, PNG)"},
		{"WebP", []byte("RIFF\x10\x00\x00\x00WEBPVP8 "), pipeline.CodeUnsupportedFormat, "Unsupported image format: WebP (supported: JPEG, PNG)"},
		{"HEIC", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: HEIC (supported: JPEG, PNG)"},
		{"AVIF", []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: AVIF (supported: JPEG, PNG)"},
		{"TIFF", []byte("II*\x00\x08\x00\x00\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: TIFF (supported: JPEG, PNG)"},
		{"BMP", []byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: BMP (supported: JPEG, PNG)"},
		{"SVG", []byte("\xef\xbb\xbf <?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>"), pipeline.CodeUnsupportedFormat, "Unsupported image format: SVG (supported: JPEG, PNG)"},
		{"JPEG magic on a PNG", join("\xff\xd8\xff", string(pngFile)), pipeline.CodeDamaged, "Damaged JPEG: unknown marker 0x89"},
		{"PNG magic on a JPEG", join("\x89PNG\r\n\x1a\n", string(jpg)), pipeline.CodeDamaged, ""},
		{"JPEG with an archive behind it", join(string(jpg), "PK\x03\x04 and so on"), pipeline.CodeNotAnImage, "Not only an image: an archive follows the picture"},
		{"PNG with a web page behind it", join(string(pngFile), "\n<script>alert(1)</script>"), pipeline.CodeNotAnImage, "Not only an image: a web page follows the picture"},
		{"JPEG with a PDF behind it", join(string(jpg), "%PDF-1.7\n"), pipeline.CodeNotAnImage, "Not only an image: a PDF document follows the picture"},
		{"PNG with a PDF behind it", join(string(pngFile), "%PDF-1.7\n"), pipeline.CodeNotAnImage, "Not only an image: a PDF document follows the picture"},
		{"PNG with an archive behind it", join(string(pngFile), "PK\x03\x04\x14\x00\x00\x00"), pipeline.CodeNotAnImage, "Not only an image: an archive follows the picture"},
		{"PNG with a RAR archive behind it", join(string(pngFile), "Rar!\x1a\x07\x00"), pipeline.CodeNotAnImage, "Not only an image: an archive follows the picture"},
		{"JPEG with a program behind it", join(string(jpg), "MZ\x90\x00\x03"), pipeline.CodeNotAnImage, "Not only an image: a program follows the picture"},
		{"PNG with a program behind it", join(string(pngFile), "\x7fELF\x02\x01\x01"), pipeline.CodeNotAnImage, "Not only an image: a program follows the picture"},
		{"HTML before a JPEG", join("<html><script>alert(1)</script>", string(jpg)), pipeline.CodeNotAnImage, "Not an image"},
		{"PDF before a PNG", join("%PDF-1.7\n", string(pngFile)), pipeline.CodeNotAnImage, "Not an image"},
		{"line break before a PNG", join("\n", string(pngFile)), pipeline.CodeNotAnImage, "Not an image"},
		{"BOM before a JPEG", join("\xef\xbb\xbf", string(jpg)), pipeline.CodeNotAnImage, "Not an image"},
		{"script before a JPEG", join("#!/bin/sh\n", string(jpg)), pipeline.CodeNotAnImage, "Not an image"},
		{"JavaScript", []byte("alert(1)//"), pipeline.CodeNotAnImage, "Not an image"},
		{"PHP", []byte("<?php system($_GET[0]);"), pipeline.CodeNotAnImage, "Not an image"},
		{"magic of a BMP alone", []byte("BM\x1e\x00\x00\x00"), pipeline.CodeNotAnImage, "Not an image"},
		{"ICO", []byte("\x00\x00\x01\x00\x01\x00"), pipeline.CodeUnsupportedFormat, "Unsupported image format: ICO (supported: JPEG, PNG)"},
		{"gzip", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"), pipeline.CodeNotAnImage, "Not an image"},
		{"JPEG with an SVG behind it", join(string(jpg), "<svg onload=alert(1)>"), pipeline.CodeNotAnImage, "Not only an image: another image follows the picture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := imagefile.Read(c.data, imagefile.Limits{})
			f := failure(t, err)
			if f.Code != c.code || (c.text != "" && f.Text != c.text) {
				t.Errorf("got %s %q, want %s %q", f.Code, f.Text, c.code, c.text)
			}
		})
	}
}

func TestReadRefusesEveryPrefix(t *testing.T) {
	files := map[string][]byte{
		"jpeg": encodeJPEG(t, gradient(40, 30)),
		"png":  encodePNG(t, gradient(40, 30)),
		"gray": encodePNG(t, image.NewGray(image.Rect(0, 0, 3, 3))),
	}
	maps.Copy(files, goTestdata(t, "testdata/video-005.gray.q50.progressive.jpeg", "png/testdata/pngsuite/basn3p0?.png"))
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			h, err := imagefile.Read(data, imagefile.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			whole := len(data) - h.Trailing
			for n := range whole {
				if h, err := imagefile.Read(data[:n], imagefile.Limits{}); err == nil && h.Unterminated {
					continue // Its scans may be complete.
				} else if err == nil {
					t.Fatalf("the first %d of %d bytes are accepted as a complete image", n, whole)
				} else if f := failure(t, err); n > 8 && f.Code != pipeline.CodeDamaged {
					t.Fatalf("the first %d bytes are rejected as %s, want %s", n, f.Code, pipeline.CodeDamaged)
				}
			}
		})
	}
}

func TestReadAllowsBytesAfterTheEnd(t *testing.T) {
	for format, data := range map[string][]byte{
		"jpeg": encodeJPEG(t, gradient(40, 30)), "png": encodePNG(t, gradient(40, 30)),
	} {
		film := "\x00\x00\x00\x18ftypmp42 the film of a motion photo"
		h, err := imagefile.Read(append(bytes.Clone(data), film...), imagefile.Limits{})
		if err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if h.Trailing != len(film) {
			t.Errorf("%s: %d bytes after the image, want %d", format, h.Trailing, len(film))
		}
	}
}

func TestReadKeepsTheLimits(t *testing.T) {
	data := encodeJPEG(t, gradient(40, 30))
	for _, c := range []struct {
		name   string
		limits imagefile.Limits
		ok     bool
	}{
		{"exactly the pixels", imagefile.Limits{MaxPixels: 1200}, true},
		{"one pixel more", imagefile.Limits{MaxPixels: 1199}, false},
		{"exactly the side", imagefile.Limits{MaxSide: 40}, true},
		{"a longer side", imagefile.Limits{MaxSide: 39}, false},
		{"exactly the work", imagefile.Limits{MaxWork: 1200}, true},
		{"more work", imagefile.Limits{MaxWork: 1199}, false},
	} {
		_, err := imagefile.Read(data, c.limits)
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.ok && failure(t, err).Code != pipeline.CodeTooManyPixels {
			t.Errorf("%s: rejected as %v, want too_many_pixels", c.name, err)
		}
	}
}

// tiff returns a TIFF structure of one directory with one orientation entry.
func tiff(order binary.AppendByteOrder, kind uint16, value uint32) []byte {
	b := []byte("II")
	if order == binary.BigEndian {
		b = []byte("MM")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, 0x0112)
	b = order.AppendUint16(b, kind)
	b = order.AppendUint32(b, 1)
	if kind == 3 {
		b = order.AppendUint16(b, uint16(value))
		b = order.AppendUint16(b, 0)
	} else {
		b = order.AppendUint32(b, value)
	}
	return order.AppendUint32(b, 0)
}

// withSegments inserts APP1 segments directly after the start of a JPEG.
func withSegments(jpg []byte, payloads ...[]byte) []byte {
	out := []byte{0xff, 0xd8}
	for _, p := range payloads {
		out = append(out, 0xff, 0xe1)
		out = binary.BigEndian.AppendUint16(out, uint16(len(p)+2))
		out = append(out, p...)
	}
	return append(out, jpg[2:]...)
}

func TestOrientation(t *testing.T) {
	jpg, png := encodeJPEG(t, gradient(40, 30)), encodePNG(t, gradient(40, 30))
	exif := func(tiff []byte) []byte { return append([]byte("Exif\x00\x00"), tiff...) }
	xmp := []byte("http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta/>")
	for _, c := range []struct {
		name string
		data []byte
		want int
	}{
		{"none", jpg, 1},
		{"little endian", withSegments(jpg, exif(tiff(binary.LittleEndian, 3, 6))), 6},
		{"big endian", withSegments(jpg, exif(tiff(binary.BigEndian, 3, 8))), 8},
		{"XMP before Exif", withSegments(jpg, xmp, exif(tiff(binary.BigEndian, 3, 5))), 5},
		{"as LONG", withSegments(jpg, exif(tiff(binary.BigEndian, 4, 3))), 3},
		{"behind the scan", slices.Concat(jpg[:len(jpg)-2], withSegments([]byte{0, 0}, exif(tiff(binary.BigEndian, 3, 6)))[2:], jpg[len(jpg)-2:]), 1},
		{"zero", withSegments(jpg, exif(tiff(binary.BigEndian, 3, 0))), 1},
		{"nine", withSegments(jpg, exif(tiff(binary.BigEndian, 3, 9))), 1},
		{"cut short", withSegments(jpg, exif(tiff(binary.BigEndian, 3, 6)[:18])), 1},
		{"first Exif counts", withSegments(jpg, exif(tiff(binary.BigEndian, 3, 2)), exif(tiff(binary.BigEndian, 3, 6))), 2},
		{"PNG", withChunk(png, "eXIf", tiff(binary.LittleEndian, 3, 7)), 7},
		{"PNG, behind the pixels", slices.Concat(png[:len(png)-12], chunk("eXIf", tiff(binary.LittleEndian, 3, 7)), png[len(png)-12:]), 7},
		{"PNG with the prefix of JPEG", withChunk(png, "eXIf", exif(tiff(binary.LittleEndian, 3, 4))), 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := imagefile.Read(c.data, imagefile.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if h.Orientation != c.want {
				t.Errorf("orientation %d, want %d", h.Orientation, c.want)
			}
			wantW, wantH := 40, 30
			if c.want >= 5 {
				wantW, wantH = 30, 40
			}
			if w, h := h.Displayed(); w != wantW || h != wantH {
				t.Errorf("displayed as %d×%d, want %d×%d", w, h, wantW, wantH)
			}
		})
	}
}
