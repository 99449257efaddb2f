package scaledpng

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image/png"
	"io"
	"slices"
	"testing"
)

// stricter are errors of files that image/png may accept and libpng does not.
var stricter = []error{errCritical, errApple, errOrder, errName, errCodes}

func isStricter(err error) bool {
	return slices.ContainsFunc(stricter, func(s error) bool { return errors.Is(err, s) })
}

// FuzzDecode verifies for arbitrary chunks, whose checksums it repairs, that Decode returns the same pixels as
// image/png if both accept the file, and accepts whatever image/png accepts, with known exceptions.
func FuzzDecode(f *testing.F) {
	for _, p := range pixelTypes {
		for _, before := range variants(p) {
			for _, interlaced := range []bool{false, true} {
				d := drawing{pixelType: p, width: 7, height: 5, interlaced: interlaced, before: before}
				f.Add(d.file(), uint8(4), uint8(5))
			}
		}
	}
	for _, c := range leniencies {
		f.Add(c.file, uint8(1), uint8(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, width, height uint8) {
		data = repaired(data)
		var h header
		if _, err := h.read(&chunks{data[min(len(data), len(signature)):]}); err != nil || h.width*h.height > 1<<16 || differsFromGo(&h, data) {
			return
		}
		toWidth, toHeight := min(h.width, int(width)+1), min(h.height, int(height)+1)
		_, goErr := png.Decode(bytes.NewReader(data))
		_, err := Decode(t.Context(), data, toWidth, toHeight)
		switch {
		case err != nil && goErr == nil && !isStricter(err):
			t.Fatalf("got %v, but image/png accepts the file", err)
		case err == nil && goErr == nil:
			checkSame(t, data, h.width, h.height)
			checkSame(t, data, toWidth, toHeight)
		}
	})
}

// differsFromGo reports whether image/png sees a transparency where libpng sees none, or another one.
func differsFromGo(h *header, data []byte) bool {
	if h.transparency == nil {
		return h.colorType == paletted && bytes.Contains(data, []byte("tRNS"))
	}
	return h.colorType == gray && h.depth < 8 && h.transparency[1]>>h.depth != 0
}

// repaired returns a file whose chunks have right checksums.
func repaired(data []byte) []byte {
	data = bytes.Clone(data)
	for rest := data[min(len(data), len(signature)):]; len(rest) >= frame; {
		length := int64(binary.BigEndian.Uint32(rest))
		if length > int64(len(rest)-frame) {
			break
		}
		covered := rest[4 : 8+length]
		binary.BigEndian.PutUint32(rest[8+length:], crc32.ChecksumIEEE(covered))
		rest = rest[frame+length:]
	}
	return data
}

// FuzzPixels verifies for arbitrary rows of every kind of pixels that Decode returns the same as image/png.
func FuzzPixels(f *testing.F) {
	f.Add(uint8(0), uint8(3), uint8(3), uint8(2), uint8(2), []byte("\x01abc\x02abc\x04abc"))
	f.Add(uint8(36), uint8(30), uint8(20), uint8(20), uint8(20), bytes.Repeat([]byte{4, 1, 2}, 100))
	f.Fuzz(func(t *testing.T, kind, width, height, toWidth, toHeight uint8, raw []byte) {
		p := pixelTypes[int(kind)%len(pixelTypes)]
		kind /= uint8(len(pixelTypes))
		d := drawing{pixelType: p, width: int(width%70) + 1, height: int(height%70) + 1, interlaced: kind&1 != 0}
		names := []string{"", "tRNS", "short"}
		d.before = variants(p)[names[int(kind/2)%len(names)]]
		if d.before == nil {
			d.before = variants(p)[""]
		}
		d.raw = d.rows()
		d.pixels(func(at, n int) {
			if len(raw) > 0 {
				d.raw[at] = raw[0] % 5
				raw = raw[1:]
			}
			raw = raw[copy(d.raw[at+1:at+1+n], raw):]
		})
		data := d.file()
		checkSame(t, data, d.width, d.height)
		checkSame(t, data, min(d.width, int(toWidth)+1), min(d.height, int(toHeight)+1))
	})
}

// FuzzInflate verifies that arbitrary data is decompressed as by compress/flate, in pieces of any size.
func FuzzInflate(f *testing.F) {
	text := bytes.Repeat([]byte("some text, and some more text that repeats some text"), 40)
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.HuffmanOnly} {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		_, _ = w.Write(text)
		_, _ = w.Write(deflated(text))
		_ = w.Close()
		f.Add(b.Bytes(), uint16(7), uint16(300))
		f.Add(b.Bytes(), uint16(1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece, room uint16) {
		const most = 1 << 20
		in := bytes.NewReader(data)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(in), most))
		got, z, err := inflated(data, int(piece)+1, int(room), most)
		got = got[:min(len(got), most)]
		if wantErr == nil && err != nil && !errors.Is(err, errCodes) || wantErr != nil && err == nil && len(want) < most {
			t.Fatalf("got %v, compress/flate %v", err, wantErr)
		}
		if n := min(len(got), len(want)); err == nil && len(got) != len(want) || !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("got %d bytes, want %d, or they differ", len(got), len(want))
		}
		if err == nil && len(want) < most {
			z.in.align()
			z.in.unread()
			if left := len(data) - in.Len(); z.in.ended && len(data)-(z.in.end-z.in.pos) != left {
				t.Fatalf("read %d bytes, compress/flate %d", len(data)-(z.in.end-z.in.pos), left)
			}
		}
	})
}

// inflated decompresses data that arrives in pieces, in a window with some room, up to a number of bytes.
func inflated(data []byte, piece, room, most int) ([]byte, *inflater, error) {
	next := func() ([]byte, error) {
		p := data[:min(len(data), piece)]
		data = data[len(p):]
		return p, nil
	}
	z := &inflater{in: newInput(next), own: new(codes), out: make([]byte, windowSize+room+1+slack)}
	var out []byte
	for z.kind != behindLast && len(out) < most {
		drop := max(0, z.pos-windowSize)
		z.pos = copy(z.out, z.out[drop:z.pos])
		from := z.pos
		err := z.more()
		out = append(out, z.out[from:z.pos]...)
		if err != nil {
			return out, z, err
		}
	}
	return out, z, nil
}

// FuzzDamage verifies that arbitrary bytes never make Decode panic, and that it ends with its context.
func FuzzDamage(f *testing.F) {
	d := drawing{pixelType: pixelType{rgb, 8}, width: 9, height: 9}
	f.Add(d.file())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(t.Context(), data, 1, 1)
		if (m == nil) != (err != nil) {
			t.Fatalf("got %v and %v", m, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Decode(ctx, data, 1, 1); err == nil {
			t.Fatal("decoded although its context had ended")
		}
	})
}
