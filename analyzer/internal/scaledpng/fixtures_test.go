package scaledpng

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pixelType is a combination of color type and depth.
type pixelType struct {
	colorType byte
	depth     int
}

var pixelTypes = []pixelType{
	{gray, 1},
	{gray, 2},
	{gray, 4},
	{gray, 8},
	{gray, 16},
	{rgb, 8},
	{rgb, 16},
	{paletted, 1},
	{paletted, 2},
	{paletted, 4},
	{paletted, 8},
	{grayAlpha, 8},
	{grayAlpha, 16},
	{rgbAlpha, 8},
	{rgbAlpha, 16},
}

// drawing is a PNG file in parts, from which a test generates whole or damaged files.
type drawing struct {
	pixelType
	width, height int
	interlaced    bool
	filter        func(row int) byte
	before        []byte                     // chunks before the pixels
	raw           []byte                     // filtered rows; nil for random ones
	compress      func(raw []byte) []byte    // nil for zlib
	split         func(data []byte) [][]byte // payloads of the IDAT chunks; nil for one chunk
	after         []byte                     // chunks behind the pixels
}

func (d *drawing) header() *header {
	return &header{width: d.width, height: d.height, depth: d.depth, colorType: d.colorType, interlaced: d.interlaced}
}

// file returns the file.
func (d *drawing) file() []byte {
	ihdr := binary.BigEndian.AppendUint32(nil, uint32(d.width))
	ihdr = binary.BigEndian.AppendUint32(ihdr, uint32(d.height))
	ihdr = append(ihdr, byte(d.depth), d.colorType, 0, 0, 0)
	if d.interlaced {
		ihdr[12] = 1
	}
	raw := d.raw
	if raw == nil {
		raw = d.rows()
	}
	compressed := deflated(raw)
	if d.compress != nil {
		compressed = d.compress(raw)
	}
	payloads := [][]byte{compressed}
	if d.split != nil {
		payloads = d.split(compressed)
	}
	out := slices.Concat([]byte(signature), chunkOf("IHDR", ihdr), d.before)
	for _, p := range payloads {
		out = append(out, chunkOf("IDAT", p)...)
	}
	return slices.Concat(out, d.after, chunkOf("IEND", nil))
}

// rows returns rows of values that repeat at places, each with a filter byte. They are not filtered values of a
// real image: any bytes are valid.
func (d *drawing) rows() []byte {
	r := rand.New(rand.NewPCG(uint64(d.width), uint64(d.height)))
	var out []byte
	row := 0
	d.pixels(func(_, n int) {
		filter := byte(row % 5)
		if d.filter != nil {
			filter = d.filter(row)
		}
		row++
		out = append(out, filter)
		for range n {
			b := byte(r.Uint32())
			if r.IntN(3) == 0 {
				b = out[max(0, len(out)-1-r.IntN(20))]
			}
			out = append(out, b)
		}
	})
	return out
}

// pixels calls f with the place of each row among all, and its length without the filter byte.
func (d *drawing) pixels(f func(at, n int)) {
	at := 0
	add := func(pixels int) {
		n := d.header().rowBytes(pixels)
		f(at, n)
		at += n + 1
	}
	if !d.interlaced {
		for range d.height {
			add(d.width)
		}
		return
	}
	for _, p := range adam7 {
		for y := p.y; y < d.height && p.x < d.width; y += p.dy {
			add((d.width - p.x + p.dx - 1) / p.dx)
		}
	}
}

// deflaters are reused, because a new one takes far longer than the compression of a small image.
var deflaters = sync.Pool{New: func() any {
	w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	return w
}}

func deflated(raw []byte) []byte {
	var b bytes.Buffer
	w := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(w)
	w.Reset(&b)
	_, _ = w.Write(raw)
	_ = w.Close()
	return b.Bytes()
}

func chunkOf(name string, payload []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	out = append(append(out, name...), payload...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// damaged returns a chunk with a wrong checksum.
func damaged(name string, payload []byte) []byte {
	c := chunkOf(name, payload)
	c[len(c)-1] ^= 1
	return c
}

// paletteOf returns the payload of a palette of n different colors.
func paletteOf(n int) []byte {
	var p []byte
	for i := range n {
		p = append(p, byte(i*7+3), byte(255-i), byte(i*i))
	}
	return p
}

// premultiplied returns a pixel of an image of image/png as RGBA with eight bits, the colors multiplied by
// alpha: the values whose means the reduction computes.
func premultiplied(m image.Image, x, y int) [4]int {
	if m, ok := m.(*image.NRGBA); ok {
		c := m.NRGBAAt(x, y)
		times := func(v byte) int { return (int(v)*int(c.A) + 127) / 255 }
		return [4]int{times(c.R), times(c.G), times(c.B), int(c.A)}
	}
	r, g, b, a := m.At(x, y).RGBA()
	return [4]int{int(r >> 8), int(g >> 8), int(b >> 8), int(a >> 8)}
}

// reduced returns an image scaled to width × height, directly from the definition: each pixel is the mean of its
// area, whose edges lie at multiples of 1/256 of a pixel.
func reduced(m image.Image, width, height int) *image.NRGBA {
	size := m.Bounds().Size()
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		top, bottom := y*size.Y*256/height, (y+1)*size.Y*256/height
		for x := range width {
			left, right := x*size.X*256/width, (x+1)*size.X*256/width
			area := (bottom - top) * (right - left)
			sums := [4]int{area / 2, area / 2, area / 2, area / 2}
			for sy := top / 256; sy*256 < bottom; sy++ {
				down := min(bottom, sy*256+256) - max(top, sy*256)
				for sx := left / 256; sx*256 < right; sx++ {
					across := min(right, sx*256+256) - max(left, sx*256)
					for c, v := range premultiplied(m, sx, sy) {
						sums[c] += v * across * down
					}
				}
			}
			p := out.Pix[out.PixOffset(x, y):]
			alpha := sums[3] / area
			p[3] = byte(alpha)
			for c := range 3 {
				if alpha > 0 {
					p[c] = byte(min(255, (sums[c]/area*255+alpha/2)/alpha))
				}
			}
		}
	}
	return out
}

// checkSame verifies that Decode returns what image/png and a direct reduction return.
func checkSame(t testing.TB, data []byte, width, height int) {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("image/png: %v", err)
	}
	got, err := Decode(t.Context(), data, width, height)
	if err != nil {
		t.Fatal(err)
	}
	want := reduced(m, width, height)
	if got.Rect != want.Rect {
		t.Fatalf("got bounds %v, want %v", got.Rect, want.Rect)
	}
	for i, v := range want.Pix {
		if got.Pix[i] != v {
			x, y := i/4%width, i/4/width
			t.Fatalf("%v to %d×%d: pixel %d,%d is %v, want %v", m.Bounds().Size(), width, height, x, y, got.NRGBAAt(x, y), want.NRGBAAt(x, y))
		}
	}
}

// pixelOf returns the first pixel of a 4×4 image.
func pixelOf(t testing.TB, data []byte) color.NRGBA {
	t.Helper()
	m, err := Decode(t.Context(), data, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	return m.NRGBAAt(0, 0)
}
