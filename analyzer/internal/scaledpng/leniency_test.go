package scaledpng

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// small is a 4×4 image of a color type with eight bits per sample.
func small(colorType byte) drawing {
	d := drawing{pixelType: pixelType{colorType, 8}, width: 4, height: 4, filter: func(int) byte { return 0 }}
	if colorType == paletted {
		d.before = chunkOf("PLTE", paletteOf(200))
	}
	d.raw = d.rows()
	for i := range d.raw {
		d.raw[i] %= 200
	}
	// The first pixel is the key of the tests for transparency.
	copy(d.raw, []byte{0, 1, 2, 3})
	return d
}

// variant returns a small image after a change.
func variant(colorType byte, change func(d *drawing)) []byte {
	d := small(colorType)
	change(&d)
	return d.file()
}

// with returns a small image with other chunks before the pixels; a palette stays.
func with(colorType byte, before ...[]byte) []byte {
	return variant(colorType, func(d *drawing) { d.before = append(d.before, slices.Concat(before...)...) })
}

// behind returns a small image with chunks behind the pixels.
func behind(colorType byte, after ...[]byte) []byte {
	return variant(colorType, func(d *drawing) { d.after = slices.Concat(after...) })
}

// stream returns a small RGB image with a change of its compressed data.
func stream(change func(data []byte) []byte) []byte {
	return variant(rgb, func(d *drawing) {
		d.compress = func(raw []byte) []byte { return change(deflated(raw)) }
	})
}

// rowsOf returns a small RGB image with a change of its rows.
func rowsOf(change func(raw []byte) []byte) []byte {
	return variant(rgb, func(d *drawing) { d.raw = change(d.raw) })
}

// parts returns a small RGB image whose compressed data is split among chunks.
func parts(split func(data []byte) [][]byte) []byte {
	return variant(rgb, func(d *drawing) { d.split = split })
}

// without returns a file without its last n bytes.
func without(file []byte, n int) []byte { return file[:len(file)-n] }

var (
	plain = with(rgb)
	text  = chunkOf("tEXt", []byte("a\x00b"))
	key   = chunkOf("tRNS", []byte{0, 1, 0, 2, 0, 3})
	keyed = with(rgb, key)
	plte  = chunkOf("PLTE", paletteOf(9))
)

// leniencies are files that libpng 1.6 accepts with a warning, or refuses. For an accepted file, like is a
// flawless file with the same pixels.
var leniencies = []struct {
	name string
	file []byte
	like []byte
	want error
}{
	// Checksums.
	{name: "wrong checksum of a text", file: with(rgb, damaged("tEXt", []byte("a\x00b"))), like: plain},
	{name: "wrong checksum of a text behind the pixels", file: behind(rgb, damaged("tEXt", []byte("a\x00b"))), like: plain},
	{name: "wrong checksum of the transparency", file: with(rgb, damaged("tRNS", []byte{0, 1, 0, 2, 0, 3})), like: plain},
	{name: "wrong checksum of the header", file: slices.Concat(plain[:29], []byte("????"), plain[33:]), want: errChecksum},
	{name: "wrong checksum of the palette", file: slices.Concat(with(rgb, damaged("PLTE", paletteOf(2)))), want: errChecksum},
	{name: "wrong checksum of pixels", file: slices.Concat(without(plain, frame+4), []byte("????"), chunkOf("IEND", nil)), want: errChecksum},
	{name: "wrong checksum of the end", file: slices.Concat(without(plain, frame), damaged("IEND", nil)), want: errChecksum},
	{name: "wrong checksum of the stream", file: stream(func(data []byte) []byte { data[len(data)-1] ^= 1; return data }), want: errSum},

	// Palettes.
	{name: "gray with a palette", file: with(gray, plte), like: with(gray)},
	{name: "gray with a bad palette", file: with(gray, chunkOf("PLTE", []byte{1})), like: with(gray)},
	{name: "gray and alpha with a palette", file: with(grayAlpha, plte), like: with(grayAlpha)},
	{name: "gray with two palettes", file: with(gray, plte, plte), want: errPalette},
	{name: "RGB with a bad palette", file: with(rgb, chunkOf("PLTE", []byte{1})), like: plain},
	{name: "RGB with a long palette", file: with(rgb, chunkOf("PLTE", paletteOf(257))), like: plain},
	{name: "RGB with an empty palette", file: with(rgb, chunkOf("PLTE", nil)), want: errPalette},
	{name: "RGB with a palette behind the pixels", file: behind(rgb, plte), like: plain},
	{name: "two palettes", file: with(paletted, plte), want: errPalette},
	{name: "two palettes behind the pixels", file: behind(rgb, plte, plte), want: errPalette},
	{name: "palette before and behind the pixels", file: behind(paletted, plte), want: errPalette},
	{name: "no palette", file: variant(paletted, func(d *drawing) { d.before = nil }), want: errNoPalette},
	{name: "empty palette", file: variant(paletted, func(d *drawing) { d.before = chunkOf("PLTE", nil) }), want: errPalette},
	{name: "palette that is too long", file: variant(paletted, func(d *drawing) { d.before = chunkOf("PLTE", paletteOf(257)) }), want: errPalette},
	{name: "palette of part of a color", file: variant(paletted, func(d *drawing) { d.before = chunkOf("PLTE", make([]byte, 4)) }), want: errPalette},
	{
		name: "palette that is too long for the depth",
		file: variant(paletted, func(d *drawing) { d.raw, d.depth, d.before = nil, 2, chunkOf("PLTE", paletteOf(7)) }),
		like: variant(paletted, func(d *drawing) { d.raw, d.depth, d.before = nil, 2, chunkOf("PLTE", paletteOf(4)) }),
	},
	{
		name: "transparency of colors beyond the depth",
		file: variant(paletted, func(d *drawing) {
			d.raw, d.depth, d.before = nil, 2, append(chunkOf("PLTE", paletteOf(7)), chunkOf("tRNS", make([]byte, 5))...)
		}),
		like: variant(paletted, func(d *drawing) { d.raw, d.depth, d.before = nil, 2, chunkOf("PLTE", paletteOf(4)) }),
	},

	// Transparency.
	{name: "transparency twice", file: with(rgb, key, chunkOf("tRNS", make([]byte, 6))), like: keyed},
	{name: "transparency of a wrong length", file: with(rgb, chunkOf("tRNS", make([]byte, 5))), like: plain},
	{name: "transparency of a wrong length and a right one", file: with(rgb, chunkOf("tRNS", make([]byte, 5)), key), like: keyed},
	{name: "transparency before the palette of RGB", file: with(rgb, key, plte), like: plain},
	{name: "transparency behind the palette of RGB", file: with(rgb, plte, key), like: keyed},
	{name: "transparency behind the pixels", file: behind(rgb, key), like: plain},
	{name: "transparency next to alpha", file: with(rgbAlpha, key), like: with(rgbAlpha)},
	{name: "transparency next to gray and alpha", file: with(grayAlpha, chunkOf("tRNS", []byte{0, 1})), like: with(grayAlpha)},
	{name: "transparency of gray with a wrong length", file: with(gray, key), like: with(gray)},
	{name: "empty transparency", file: with(paletted, chunkOf("tRNS", nil)), like: with(paletted)},
	{name: "transparency longer than the palette", file: with(paletted, chunkOf("tRNS", make([]byte, 201))), like: with(paletted)},
	{
		name: "transparency before the palette",
		file: variant(paletted, func(d *drawing) { d.before = slices.Concat(chunkOf("tRNS", []byte{0}), d.before) }),
		like: with(paletted),
	},
	{
		name: "transparency with more bits than a sample",
		file: variant(gray, func(d *drawing) { d.raw, d.depth, d.before = nil, 2, chunkOf("tRNS", []byte{7, 0xf4}) }),
		like: variant(gray, func(d *drawing) { d.raw, d.depth, d.before = nil, 2, chunkOf("tRNS", []byte{0, 0}) }),
	},

	// The compressed data.
	{name: "bytes behind the stream", file: stream(func(data []byte) []byte { return append(data, "junk"...) }), like: plain},
	{name: "chunk behind the stream", file: behind(rgb, chunkOf("IDAT", []byte("junk"))), like: plain},
	{name: "chunk of pixels behind a text", file: behind(rgb, text, chunkOf("IDAT", []byte("junk"))), like: plain},
	{name: "one row too many", file: rowsOf(func(raw []byte) []byte { return append(raw, raw[:13]...) }), like: plain},
	{name: "one byte too much", file: rowsOf(func(raw []byte) []byte { return append(raw, 7) }), like: plain},
	{name: "many rows too many", file: rowsOf(func(raw []byte) []byte { return append(raw, make([]byte, 1<<20)...) }), like: plain},
	{name: "empty chunks", file: parts(func(data []byte) [][]byte { return [][]byte{nil, data[:9], nil, nil, data[9:], nil} }), like: plain},
	{name: "chunks of one byte", file: parts(func(data []byte) (chunks [][]byte) { return slices.Collect(slices.Chunk(data, 1)) }), like: plain},
	{name: "one byte too little", file: rowsOf(func(raw []byte) []byte { return without(raw, 1) }), want: errTooLittle},
	{name: "no rows", file: rowsOf(func([]byte) []byte { return []byte{} }), want: errTooLittle},
	{name: "cut stream", file: stream(func(data []byte) []byte { return data[:len(data)/2] }), want: errShort},
	{name: "stream without its checksum", file: stream(func(data []byte) []byte { return without(data, 4) }), want: errShort},
	{name: "stream with half of its checksum", file: stream(func(data []byte) []byte { return without(data, 2) }), want: errShort},
	{name: "empty stream", file: stream(func([]byte) []byte { return nil }), want: errShort},
	{
		name: "text between the pixels",
		file: slices.Concat(
			without(parts(func(data []byte) [][]byte { return [][]byte{data[:9]} }), frame), text,
			chunkOf("IDAT", deflated(small(rgb).raw)[9:]), chunkOf("IEND", nil)),
		want: errShort,
	},
	{name: "bad zlib header", file: stream(func(data []byte) []byte { data[1] ^= 1; return data }), want: errZlib},
	{name: "preset dictionary", file: stream(func(data []byte) []byte { return append([]byte{0x78, 0xbb}, data[2:]...) }), want: errZlib},
	{name: "window of 64 kB", file: stream(func(data []byte) []byte { return append([]byte{0x88, 0x1c}, data[2:]...) }), want: errZlib},
	{name: "no deflate", file: stream(func(data []byte) []byte { return append([]byte{0x79, 0x18}, data[2:]...) }), want: errZlib},
	{name: "filter 5", file: rowsOf(func(raw []byte) []byte { raw[13] = 5; return raw }), want: errFilter},
	{name: "filter 255", file: rowsOf(func(raw []byte) []byte { raw[0] = 255; return raw }), want: errFilter},

	// The structure.
	{name: "bytes behind the end", file: append(bytes.Clone(plain), "junk"...), like: plain},
	{name: "end that is not empty", file: slices.Concat(without(plain, frame), chunkOf("IEND", []byte("x"))), like: plain},
	{name: "unknown chunks", file: with(rgb, chunkOf("aaAa", []byte("x")), chunkOf("zzzz", nil)), like: plain},
	{name: "unknown critical chunk", file: with(rgb, chunkOf("ABCD", nil)), want: errCritical},
	{name: "unknown critical chunk behind the pixels", file: behind(rgb, chunkOf("ABCD", nil)), want: errCritical},
	{name: "Apple's variant", file: slices.Concat([]byte(signature), chunkOf("CgBI", make([]byte, 4)), plain[len(signature):]), want: errApple},
	{name: "two headers", file: with(rgb, plain[8:33]), want: errOrder},
	{name: "two headers, one behind the pixels", file: behind(rgb, plain[8:33]), want: errOrder},
	{name: "text before the header", file: slices.Concat(plain[:8], text, plain[8:]), want: errOrder},
	{name: "no header", file: slices.Concat(plain[:8], plain[33:]), want: errOrder},
	{name: "long header", file: slices.Concat(plain[:8], chunkOf("IHDR", append(bytes.Clone(plain[16:29]), 0)), plain[33:]), want: errHeader},
	{name: "no pixels", file: slices.Concat(plain[:33], chunkOf("IEND", nil)), want: errNoPixels},
	{name: "no end", file: without(plain, frame), want: errCut},
	{name: "no end behind a text", file: without(behind(rgb, text), frame), want: errCut},
	{name: "half of an end", file: without(plain, 1), want: errCut},
	{name: "cut in the pixels", file: without(plain, 20), want: errCut},
	{name: "only a signature", file: plain[:8], want: errCut},
	{name: "half of a signature", file: plain[:4], want: errSignature},
	{name: "chunk of 2^31 bytes", file: slices.Concat(plain[:33], []byte("\x80\x00\x00\x00aaAa"), plain[33:]), want: errLength},
	{name: "chunk of 2^31-1 bytes", file: slices.Concat(plain[:33], []byte("\x7f\xff\xff\xffaaAa"), plain[33:]), want: errCut},
	{name: "digit in a name", file: with(rgb, chunkOf("aa1a", nil)), want: errName},
}

// TestLeniency verifies that files with flaws are accepted or refused as by libpng.
func TestLeniency(t *testing.T) {
	for _, c := range leniencies {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(t.Context(), c.file, 4, 4)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			checkSame(t, c.like, 4, 4)
			want, err := Decode(t.Context(), c.like, 4, 4)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("the pixels differ: %v, want %v", got.Pix, want.Pix)
			}
		})
	}
	if bytes.Equal(keyed, plain) || pixelOf(t, keyed).A != 0 || pixelOf(t, plain).A != 255 {
		t.Error("the transparency makes no difference")
	}
}
