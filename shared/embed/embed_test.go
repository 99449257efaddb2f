package embed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	_ "image/jpeg" // for image.Decode in samePixels
	_ "image/png"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// write writes the sample into a file and checks the invariants of every file: the input is not changed,
// writing again changes nothing, and everything except the packet and the filled fields is unchanged.
func write(t testing.TB, data []byte) File {
	t.Helper()
	return writeSample(t, data, sample(), Options{Composed: true})
}

func writeSample(t testing.TB, data []byte, m pipeline.Metadata, o Options) File {
	t.Helper()
	before := bytes.Clone(data)
	f, err := Write(data, m, o)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("the input was changed")
	}
	again, err := Write(f.Data, m, o)
	if err != nil {
		t.Fatalf("write again: %v", err)
	}
	if !bytes.Equal(again.Data, f.Data) {
		t.Fatal("writing twice differs from writing once")
	}
	if f.XMP == None && f.Place != Removed {
		if !bytes.Equal(f.Data, data) || len(f.Warnings) == 0 {
			t.Fatalf("outcome none, warnings %q, same bytes: %v", f.Warnings, bytes.Equal(f.Data, data))
		}
		return f
	}
	if got, want := rest(f.Data), rest(data); !slices.Equal(got, want) {
		t.Fatalf("more than the packet changed: %d parts, want %d", len(got), len(want))
	}
	if f.Place != Removed && f.EXIF == Filled {
		checkTIFF(t, exifOf(data), exifOf(f.Data))
	}
	return f
}

// exifOf returns the TIFF block of a file, or nothing.
func exifOf(data []byte) []byte {
	l, _ := imagefile.LayoutOf(data)
	b, _ := l.First(imagefile.EXIF)
	return b.Data.Of(data)
}

// checkTIFF checks that the existing data in a block has not moved, except for the position of the first
// directory.
func checkTIFF(t testing.TB, before, after []byte) {
	t.Helper()
	if block, err := tiff.Parse(before); err == nil {
		if _, described := tiffDescription(block); described {
			return // it was ours, and has been replaced
		}
	}
	blanked := bytes.Clone(after)
	copy(blanked[4:8], before[4:8])
	if !bytes.HasPrefix(blanked, before) {
		t.Fatal("some EXIF data has moved")
	}
}

// rest splits a file into parts, without its first XMP packet, EXIF and IPTC, and with the numbers of an MPF
// index blanked.
func rest(data []byte) []string {
	if bytes.HasPrefix(data, []byte(jpegStart)) {
		return restOfJPEG(data)
	}
	return restOfPNG(data)
}

func restOfJPEG(data []byte) []string {
	l, _ := imagefile.LayoutOf(data)
	blanked := bytes.Clone(data)
	if entries, _, ok := mpEntries(data, l); ok {
		for at := entries.Start; at < entries.End; at += 16 {
			clear(blanked[at+4 : at+12]) // size and offset
		}
	}
	places, _ := l.FLIRPositions(data)
	for _, at := range places {
		clear(at.Of(blanked))
	}
	var cuts edit.Edits
	if b, ok := l.First(imagefile.XMP); ok {
		cuts = append(cuts, edit.Edit{Span: b.Whole})
	}
	resources := l.All(imagefile.Photoshop) // one list
	for i, b := range resources {
		if i > 0 {
			cuts = append(cuts, edit.Edit{Span: b.Whole})
		}
	}
	for _, b := range append(l.All(imagefile.EXIF), resources[:min(1, len(resources))]...) {
		cuts = append(cuts, edit.Edit{Span: edit.Span{Start: b.Whole.Start + 2, End: b.Whole.End}})
	}
	return []string{string(cuts.Apply(blanked))}
}

// restOfPNG has its own PNG parser, as a check on the code under test.
func restOfPNG(data []byte) []string {
	var parts []string
	left, found := string(data[len(pngStart):]), false
	for {
		size := int(left[0])<<24 | int(left[1])<<16 | int(left[2])<<8 | int(left[3])
		part := left[:size+12]
		left = left[size+12:]
		if !found && slices.Contains([]string{"iTXt", "zTXt", "tEXt"}, part[4:8]) && strings.HasPrefix(part[8:len(part)-4], xmpKeyword) {
			found = true
			continue
		}
		if strings.HasPrefix(part[4:], "tEXtexif:GPS") {
			continue
		}
		if keyword, _, _ := strings.Cut(strings.ToLower(part[8:]), "\x00"); keyword == "raw profile type xmp" || keyword == "raw profile type app1" {
			parts = append(parts, keyword)
			continue
		}
		if part[4:8] == "eXIf" {
			parts = append(parts, "EXIF")
			continue
		}
		parts = append(parts, part)
		if part[4:8] == "IEND" {
			return append(parts, left)
		}
	}
}

// samePixels checks that a decoder returns the same image for both files.
func samePixels(t testing.TB, before, after []byte) {
	t.Helper()
	want, wantFormat, err := image.Decode(bytes.NewReader(before))
	if err != nil {
		t.Fatalf("decode the original: %v", err)
	}
	sameImage(t, want, wantFormat, after)
}

// sameImage checks that a decoder returns the image for a file.
func sameImage(t testing.TB, want image.Image, wantFormat string, after []byte) {
	t.Helper()
	got, gotFormat, err := image.Decode(bytes.NewReader(after))
	if err != nil {
		t.Fatalf("decode the processed file: %v", err)
	}
	// The decoders return the samples as they are stored, in their own types.
	if gotFormat != wantFormat || !reflect.DeepEqual(got, want) {
		t.Fatalf("got another image: %s %T %v, want %s %T %v", gotFormat, got, got.Bounds(), wantFormat, want, want.Bounds())
	}
}

func first(w []Warning) Warning {
	if len(w) == 0 {
		return ""
	}
	return w[0]
}

// expect checks the outcome and the warning.
func expect(t testing.TB, f File, o Outcome, w Warning) {
	t.Helper()
	if f.XMP != o || first(f.Warnings) != w {
		t.Fatalf("outcome %q, warning %q; want %q, %q", f.XMP, f.Warnings, o, w)
	}
}

func TestWriteRefusesOtherFormats(t *testing.T) {
	for _, data := range []string{"", "\xff", jpegStart, "GIF89a", "<svg/>", "\x89PNG\r\n"} {
		if _, err := Write([]byte(data), sample(), Options{Composed: true}); !errors.Is(err, imagefile.ErrFormat) {
			t.Errorf("%q: error %v, want imagefile.ErrFormat", data, err)
		}
	}
}

func TestWriteReturnsTheContentType(t *testing.T) {
	if f := write(t, plainJPEG(t)); f.ContentType != "image/jpeg" {
		t.Errorf("content type %q", f.ContentType)
	}
	if f := write(t, plainPNG(t, testImage())); f.ContentType != "image/png" {
		t.Errorf("content type %q", f.ContentType)
	}
}

// BenchmarkWrite writes into a photo of 400 kB. The loop "copy" only copies it, which is the minimum for
// writing a whole file.
func BenchmarkWrite(b *testing.B) {
	scan := append(plainJPEG(b), make([]byte, 400_000)...)
	camera := []string{jfif, exifSegment(cameraTIFF(binary.BigEndian)), iptcSegment(iimVersion, set(2, 80, "Someone"))}
	merged := withSegments(scan, append(camera, xmpSegment(foreign(motionPhoto)))...)
	again, err := Write(merged, sample(), Options{Composed: true})
	if err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"new":    withSegments(scan, jfif),
		"camera": withSegments(scan, camera...),
		"merged": merged,
		"again":  again.Data,
		"png":    withChunks(plainPNG(b, testImage()), "", chunk("prIv", strings.Repeat("x", 400_000))),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Write(data, sample(), Options{Composed: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(scan)))
		for b.Loop() {
			_ = bytes.Clone(scan)
		}
	})
}
