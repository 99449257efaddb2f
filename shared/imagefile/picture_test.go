package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image/color"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// hashOf returns the hash of the picture in a file that must be accepted.
func hashOf(t *testing.T, file []byte) string {
	t.Helper()
	if _, err := imagefile.Read(file, imagefile.Limits{}); err != nil {
		t.Fatalf("the file is refused: %v", err)
	}
	h, err := imagefile.PictureHash(file)
	if err != nil || len(h) != 64 {
		t.Fatalf("%q, %v", h, err)
	}
	return h
}

// TestPictureHashIgnoresMetadata verifies that only what a viewer shows changes the hash of the picture.
func TestPictureHashIgnoresMetadata(t *testing.T) {
	img := gradient(40, 30)
	jpg, png := encodeJPEG(t, img), encodePNG(t, img)
	img.Set(3, 4, color.RGBA{255, 255, 255, 255})
	upright, turned := tiff(binary.BigEndian, 3, 1), tiff(binary.BigEndian, 3, 6)
	exif := func(block []byte) []byte { return segment(0xe1, append([]byte("Exif\x00\x00"), block...)...) }
	inserted := func(segments ...[]byte) []byte {
		return bytes.Join(append([][]byte{jpg[:2]}, append(segments, jpg[2:])...), nil)
	}
	// The only IDAT chunk of the file in two parts.
	at := bytes.Index(png, []byte("IDAT")) - 4
	pixels := png[at+8 : at+8+int(binary.BigEndian.Uint32(png[at:]))]
	split := bytes.Join([][]byte{png[:at], chunk("IDAT", pixels[:7]), chunk("IDAT", pixels[7:]), png[at+12+len(pixels):]}, nil)

	for _, c := range []struct {
		name  string
		of    []byte
		file  []byte
		equal bool
	}{
		{"JFIF, EXIF, XMP, IPTC and a comment", jpg, inserted(
			segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")...), exif(upright),
			segment(0xe1, []byte("http://ns.adobe.com/xap/1.0/\x00<x/>")...), segment(0xed, []byte("Photoshop 3.0\x00")...), segment(0xfe, 'h', 'i'),
			segment(0xe2, []byte("MPF\x00")...)), true},
		{"bytes after the end", jpg, append(bytes.Clone(jpg), "a video"...), true},
		{"a comment between the tables and the scan", jpg, bytes.Replace(jpg, []byte{0xff, 0xda}, append(segment(0xfe, 'x'), 0xff, 0xda), 1), true},
		{"fill bytes before a marker", jpg, inserted([]byte{0xff, 0xff}), true},
		{"another pixel", jpg, encodeJPEG(t, img), false},
		{"an orientation", jpg, inserted(exif(turned)), false},
		{"a profile", jpg, inserted(segment(0xe2, []byte("ICC_PROFILE\x00\x01\x01profile")...)), false},
		{"Adobe's segment", jpg, inserted(segment(0xee, []byte("Adobe\x00\x64\x00\x00\x00\x00\x01")...)), false},

		{"texts, EXIF and the time", png, withChunk(withChunk(withChunk(png, "tEXt", []byte("Title\x00Lake")), "eXIf", upright), "tIME", make([]byte, 7)), true},
		{"pixels in two chunks", png, split, true},
		{"bytes after the end of a PNG", png, append(bytes.Clone(png), "more"...), true},
		{"another pixel of a PNG", png, encodePNG(t, img), false},
		{"an orientation of a PNG", png, withChunk(png, "eXIf", turned), false},
		{"a gamma", png, withChunk(png, "gAMA", []byte{0, 0, 0xb1, 0x8f}), false},
		{"a transparent color", png, withChunk(png, "tRNS", make([]byte, 6)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if equal := hashOf(t, c.file) == hashOf(t, c.of); equal != c.equal {
				t.Errorf("the hash is equal: %v, want %v", equal, c.equal)
			}
		})
	}
}

// TestPictureHashOfOtherFiles verifies that a file that cannot be walked through has no hash.
func TestPictureHashOfOtherFiles(t *testing.T) {
	jpg, png := encodeJPEG(t, gradient(40, 30)), encodePNG(t, gradient(40, 30))
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":                   {nil, imagefile.ErrFormat},
		"a text":                    {[]byte("hello"), imagefile.ErrFormat},
		"a JPEG without pixels":     {jpg[:20], imagefile.ErrStructure},
		"a PNG without its end":     {png[:len(png)-12], imagefile.ErrStructure},
		"a PNG that is only a name": {png[:8], imagefile.ErrStructure},
	} {
		if h, err := imagefile.PictureHash(c.file); !errors.Is(err, c.want) || h != "" {
			t.Errorf("%s: %q, %v; want %v", name, h, err, c.want)
		}
	}
	// Some cameras write no end of the image, and such files are accepted.
	hashOf(t, jpg[:len(jpg)-2])
}
