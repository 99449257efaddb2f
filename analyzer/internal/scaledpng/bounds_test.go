package scaledpng

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
)

// allocated returns how many bytes f allocates in total, which is at least the peak of its heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zeros returns a file of zeros, which compress well.
func zeros(p pixelType, width, height int, interlaced bool) []byte {
	d := drawing{pixelType: p, width: width, height: height, interlaced: interlaced, before: variants(p)[""]}
	d.pixels(func(at, n int) { d.raw = append(d.raw, make([]byte, n+1)...) })
	return d.file()
}

// TestMemory verifies the memory of decoding images of every kind, and of wide and tall ones. It does not depend on
// the number of pixels.
func TestMemory(t *testing.T) {
	largest := []pixelType{{rgbAlpha, 8}}
	longest := []pixelType{{rgbAlpha, 16}}
	for _, c := range []struct {
		width, height, toWidth, toHeight int
		types                            []pixelType
		most                             uint64
	}{
		{640, 480, 320, 240, pixelTypes, 2 << 20}, {7071, 200, 320, 9, largest, 8 << 20},
		{20_000, 50, 320, 1, longest, 8 << 20}, {50, 20_000, 1, 320, longest, 8 << 20},
	} {
		for _, p := range c.types {
			for _, interlaced := range []bool{false, true} {
				data := zeros(p, c.width, c.height, interlaced)
				used := allocated(func() {
					if _, err := Decode(t.Context(), data, c.toWidth, c.toHeight); err != nil {
						t.Error(err)
					}
				})
				if used > c.most {
					t.Errorf("%d×%d, type %d, %d bits, interlaced %v: %d kB allocated", c.width, c.height, p.colorType, p.depth, interlaced, used>>10)
				}
				if most := Memory(c.width, c.height, c.toWidth, c.toHeight); used > uint64(most) {
					t.Errorf("%d×%d, type %d, %d bits, interlaced %v: %d bytes allocated, but Memory is %d", c.width, c.height, p.colorType, p.depth, interlaced, used, most)
				}
			}
		}
	}
}

// TestBombs verifies that files which promise much and contain little take little memory, and that those with
// more data than pixels are not decompressed to their end.
func TestBombs(t *testing.T) {
	huge := func(width, height int) []byte {
		return variant(rgbAlpha, func(d *drawing) { d.width, d.height = width, height })
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"rows of 65,536 pixels", huge(maxSide, maxSide), errTooLittle},
		{"a side of 65,537 pixels", huge(maxSide+1, 1), errTooLong},
		{"another side of 65,537 pixels", huge(1, maxSide+1), errTooLong},
		{"a side of 2^31-1 pixels", huge(math.MaxInt32, math.MaxInt32), errTooLong},
		{"a side of 2^31 pixels", huge(1<<31, 1), errHeader},
		{"no columns", huge(0, 1), errHeader},
		{"no rows", huge(1, 0), errHeader},
		{"16 MB for one pixel", variant(rgb, func(d *drawing) { d.width, d.height, d.raw = 1, 1, make([]byte, 16<<20) }), nil},
		{"200,000 empty chunks", with(rgb, bytes.Repeat(chunkOf("aaAa", nil), 200_000)), nil},
		{"200,000 empty chunks of pixels", behind(rgb, bytes.Repeat(chunkOf("IDAT", nil), 200_000)), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			used := allocated(func() {
				if _, err := Decode(t.Context(), c.file, 1, 1); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
			if used > 5<<20 {
				t.Errorf("%d kB allocated", used>>10)
			}
		})
	}
}

// TestTooMuchIsNotDecompressed verifies that Decode stops after the last row: damage far behind it does not
// matter.
func TestTooMuchIsNotDecompressed(t *testing.T) {
	data := stream(func([]byte) []byte {
		data := deflated(append(small(rgb).raw, random(1000, 500)...))
		for i := len(data) / 2; i < len(data); i++ {
			data[i] = 0xff
		}
		return data
	})
	if _, err := Decode(t.Context(), data, 4, 4); err != nil {
		t.Error(err)
	}
}

// TestRowsFillTheWindow verifies that the end of the stream is found and checked if the last row ends where the
// window does.
func TestRowsFillTheWindow(t *testing.T) {
	d := drawing{pixelType: pixelType{gray, 8}, width: windowSize - 1, height: (windowSize + fresh) / windowSize}
	d.compress = func(raw []byte) []byte {
		var b bytes.Buffer
		w, _ := zlib.NewWriterLevel(&b, zlib.NoCompression)
		_, _ = w.Write(raw)
		_ = w.Close()
		return b.Bytes()
	}
	checkSame(t, d.file(), 100, 2)
	stored := d.compress
	d.compress = func(raw []byte) []byte {
		data := stored(raw)
		data[len(data)-1] ^= 1
		return data
	}
	if _, err := Decode(t.Context(), d.file(), 100, 2); !errors.Is(err, errSum) {
		t.Errorf("got %v, want %v", err, errSum)
	}
}

// random returns the rows of an RGB image.
func random(width, height int) []byte {
	d := drawing{pixelType: pixelType{rgb, 8}, width: width, height: height}
	return d.rows()
}

// countingContext ends after some calls of its method Err.
type countingContext struct {
	context.Context
	left int
}

func (c *countingContext) Err() error {
	if c.left == 0 {
		return context.DeadlineExceeded
	}
	c.left--
	return nil
}

// TestContext verifies that decoding ends with its context, wherever it is: in data without any pixels, in rows,
// behind them.
func TestContext(t *testing.T) {
	empty := stream(func(data []byte) []byte {
		return slices.Concat(data[:2], bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<18), data[2:])
	})
	rows := zeros(pixelType{rgb, 8}, 1000, 1000, false)
	interlaced := zeros(pixelType{rgb, 8}, 1000, 1000, true)
	for i, data := range [][]byte{empty, rows, interlaced, plain} {
		const many = 1 << 20
		all := &countingContext{t.Context(), many}
		if _, err := Decode(all, data, 4, 4); err != nil {
			t.Fatal(err)
		}
		calls := many - all.left
		for left := 0; left < calls; left += 1 + calls/10 {
			if _, err := Decode(&countingContext{t.Context(), left}, data, 4, 4); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("file %d, after %d of %d calls: %v", i, left, calls, err)
			}
		}
		if i < 3 && calls < 20 || calls < 2 {
			t.Errorf("file %d: the context is only checked %d times", i, calls)
		}
	}
}

func TestDecodeRejectsOtherSizes(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {1, 0}, {5, 4}, {4, 5}, {-1, 1}} {
		if m, err := Decode(t.Context(), plain, size[0], size[1]); err == nil {
			t.Errorf("%v: got an image of %v", size, m.Rect)
		}
	}
}

// TestTallAndWide verifies sums of many pixels: more rows than 16 bits can sum, and the longest sides.
func TestTallAndWide(t *testing.T) {
	for _, size := range [][2]int{{1, 256}, {1, 257}, {3, 258}, {2, 515}, {700, 9}, {maxSide, 1}, {1, maxSide}} {
		for _, interlaced := range []bool{false, true} {
			t.Run(fmt.Sprint(size, interlaced), func(t *testing.T) {
				for _, p := range []pixelType{{gray, 8}, {rgbAlpha, 8}} {
					d := drawing{pixelType: p, width: size[0], height: size[1], interlaced: interlaced, filter: func(int) byte { return 0 }}
					d.pixels(func(_, n int) { d.raw = append(append(d.raw, 0), bytes.Repeat([]byte{255}, n)...) })
					got, err := Decode(t.Context(), d.file(), 1, 1)
					if err != nil || !bytes.Equal(got.Pix, []byte{255, 255, 255, 255}) {
						t.Errorf("white becomes %v, %v", got, err)
					}
					d.raw = nil
					checkSame(t, d.file(), min(2, size[0]), min(3, size[1]))
				}
			})
		}
	}
}
