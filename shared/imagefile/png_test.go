package imagefile_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// TestPNGFlaws verifies that Read accepts the flaws of which libpng only warns, rejects the others, and finds
// transparency only where the decoder does.
func TestPNGFlaws(t *testing.T) {
	const gray, rgb, indexed, grayAlpha, rgbAlpha = 0, 2, 3, 4, 6
	colors := func(n int) []byte { return chunk("PLTE", make([]byte, 3*n)) }
	pixels, end, text := chunk("IDAT", make([]byte, 20)), chunk("IEND", nil), chunk("tEXt", []byte("a\x00b"))
	key := chunk("tRNS", make([]byte, 6))
	file := func(colorType, depth byte, chunks ...[]byte) []byte {
		return pngOf(slices.Concat([][]byte{chunk("IHDR", ihdr(4, 4, depth, colorType, 0))}, chunks)...)
	}
	before := func(colorType byte, chunks ...[]byte) []byte {
		return file(colorType, 8, slices.Concat(chunks, [][]byte{pixels, end})...)
	}
	behind := func(colorType byte, chunks ...[]byte) []byte {
		return file(colorType, 8, slices.Concat([][]byte{pixels}, chunks, [][]byte{end})...)
	}
	header := file(rgb, 8)
	for _, c := range []struct {
		name  string
		data  []byte
		alpha bool
		text  string // "" if it is accepted
	}{
		{"wrong CRC of a text", before(rgb, damaged(text)), false, ""},
		{"wrong CRC of a text behind the pixels", behind(rgb, damaged(text)), false, ""},
		{"wrong CRC of EXIF", before(rgb, damaged(chunk("eXIf", tiff(binary.BigEndian, 3, 6)))), false, ""},
		{"wrong CRC of a profile", before(rgb, damaged(chunk("iCCP", []byte("a\x00\x00")))), false, ""},
		{"wrong CRC of the transparency", before(rgb, damaged(key)), false, ""},
		{"wrong CRC of the transparency before a right one", before(rgb, damaged(key), key), true, ""},
		{"wrong CRC of the header", slices.Concat(damaged(header), pixels, end), false, "Damaged PNG: wrong checksum in chunk IHDR"},
		{"wrong CRC of the palette", before(rgb, damaged(colors(2))), false, "Damaged PNG: wrong checksum in chunk PLTE"},
		{"wrong CRC of the pixels", file(rgb, 8, damaged(pixels), end), false, "Damaged PNG: wrong checksum in chunk IDAT"},
		{"wrong CRC of the end", file(rgb, 8, pixels, damaged(end)), false, "Damaged PNG: wrong checksum in chunk IEND"},

		{"gray with a palette", before(gray, colors(9)), false, ""},
		{"gray with a bad palette", before(gray, chunk("PLTE", []byte{1})), false, ""},
		{"gray and alpha with a palette", before(grayAlpha, colors(9)), true, ""},
		{"RGB with a palette", before(rgb, colors(9)), false, ""},
		{"RGB with a bad palette", before(rgb, chunk("PLTE", []byte{1})), false, ""},
		{"RGB with a long palette", before(rgb, colors(257)), false, ""},
		{"RGB with a palette behind the pixels", behind(rgb, colors(9)), false, ""},
		{"palette too long for its depth", file(indexed, 1, colors(3), pixels, end), false, ""},
		{"RGB with an empty palette", before(rgb, colors(0)), false, "Damaged PNG: its palette has an impossible length"},
		{"two palettes", before(indexed, colors(2), colors(2)), false, "Damaged PNG: it has two palettes"},
		{"gray with two palettes", before(gray, colors(2), colors(2)), false, "Damaged PNG: it has two palettes"},
		{"two palettes behind the pixels", behind(rgb, colors(2), colors(2)), false, "Damaged PNG: it has two palettes"},
		{"palette only behind the pixels", behind(indexed, colors(2)), false, "Damaged PNG: its palette is missing"},
		{"empty palette", before(indexed, colors(0)), false, "Damaged PNG: its palette has an impossible length"},
		{"palette of 257 colors", before(indexed, colors(257)), false, "Damaged PNG: its palette has an impossible length"},
		{"palette of part of a color", before(indexed, chunk("PLTE", make([]byte, 4))), false, "Damaged PNG: its palette has an impossible length"},

		{"transparency", before(rgb, key), true, ""},
		{"transparency of gray", before(gray, chunk("tRNS", make([]byte, 2))), true, ""},
		{"transparency of a palette", before(indexed, colors(2), chunk("tRNS", make([]byte, 2))), true, ""},
		{"transparency twice", before(rgb, key, key), true, ""},
		{"transparency of a wrong length", before(rgb, chunk("tRNS", make([]byte, 5))), false, ""},
		{"transparency of a wrong length before a right one", before(rgb, chunk("tRNS", nil), key), true, ""},
		{"transparency before the palette of RGB", before(rgb, key, colors(2)), false, ""},
		{"transparency before a bad palette of RGB", before(rgb, key, chunk("PLTE", []byte{1})), true, ""},
		{"transparency before the palette", before(indexed, chunk("tRNS", []byte{0}), colors(2)), false, ""},
		{"transparency behind the pixels", behind(rgb, key), false, ""},
		{"transparency in addition to alpha", before(rgbAlpha, key), true, ""},
		{"empty transparency", before(indexed, colors(2), chunk("tRNS", nil)), false, ""},
		{"transparency longer than the palette", before(indexed, colors(2), chunk("tRNS", make([]byte, 3))), false, ""},
		{"transparency of colors beyond the depth", file(indexed, 1, colors(3), chunk("tRNS", make([]byte, 3)), pixels, end), false, ""},

		{"empty chunks of pixels", before(rgb, chunk("IDAT", nil), chunk("IDAT", []byte{1}), chunk("IDAT", nil)), false, ""},
		{"pixels behind a text", behind(rgb, text, pixels), false, ""},
		{"most of the pixels behind a text", pngOf(chunk("IHDR", ihdr(100, 100, 8, rgb, 0)), chunk("IDAT", make([]byte, 20)), text, chunk("IDAT", make([]byte, 20)), end), false, "Damaged PNG: holds too little data for its size"},
		{"an end that is not empty", file(rgb, 8, pixels, chunk("IEND", []byte("x"))), false, ""},
		{"an end with a web page", file(rgb, 8, pixels, chunk("IEND", []byte("<html>"))), false, "Not only an image: a web page follows the picture"},
		{"bytes behind the end", append(before(rgb), "junk"...), false, ""},
		{"unknown chunks", before(rgb, chunk("aaAa", nil), damaged(chunk("zzzz", nil))), false, ""},
		{"unknown critical chunk", before(rgb, chunk("ABCD", nil)), false, "Unsupported PNG: unknown critical chunk ABCD"},
		{"unknown critical chunk behind the pixels", behind(rgb, chunk("ABCD", nil)), false, "Unsupported PNG: unknown critical chunk ABCD"},
		{"Apple's variant", slices.Concat(header[:8], chunk("CgBI", make([]byte, 4)), header[8:], pixels, end), false, "Unsupported PNG: CgBI (Apple's variant of PNG)"},
		{"a long header", slices.Concat(header[:8], chunk("IHDR", append(ihdr(4, 4, 8, rgb, 0), 0)), pixels, end), false, "Damaged PNG: its IHDR chunk has the wrong length"},
		{"two headers, one behind the pixels", behind(rgb, header[8:]), false, "Damaged PNG: its IHDR chunk is not the first and only one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := imagefile.Read(c.data, imagefile.Limits{})
			if c.text != "" {
				if f := failure(t, err); f.Text != c.text {
					t.Errorf("got %q, want %q", f.Text, c.text)
				}
				return
			}
			if err != nil || h.Alpha != c.alpha {
				t.Errorf("alpha is %v, want %v, %v", h.Alpha, c.alpha, err)
			}
			if l, err := imagefile.LayoutOf(c.data); err != nil || len(l.Blocks) != len(h.Blocks) {
				t.Errorf("the layout differs: %+v, %v", l, err)
			}
		})
	}
}

// damaged returns a copy of a chunk, or of a file that ends with one, with a wrong checksum.
func damaged(chunk []byte) []byte {
	chunk = bytes.Clone(chunk)
	chunk[len(chunk)-1] ^= 1
	return chunk
}
