package scaledpng

import (
	"fmt"
	"testing"
)

// variants returns what can precede the pixels of a type: a palette, transparency, neither.
func variants(p pixelType) map[string][]byte {
	switch p.colorType {
	case gray:
		return map[string][]byte{"": nil, "tRNS": chunkOf("tRNS", []byte{0, 1})}
	case rgb:
		return map[string][]byte{"": nil, "tRNS": chunkOf("tRNS", []byte{0, 1, 0, 2, 0, 3}), "PLTE": chunkOf("PLTE", paletteOf(5))}
	case paletted:
		n := 1 << p.depth
		plte := chunkOf("PLTE", paletteOf(n))
		return map[string][]byte{
			"": plte, "short": chunkOf("PLTE", paletteOf(n/2)),
			"tRNS": append(plte, chunkOf("tRNS", []byte{0, 100}[:min(2, n)])...),
		}
	default:
		return map[string][]byte{"": nil}
	}
}

// TestEveryKindOfPixels compares each color type, depth and transparency, interlaced or not, with image/png: at
// small and odd sizes, at full size and reduced. Each width comes with three heights. The rows use each filter.
func TestEveryKindOfPixels(t *testing.T) {
	for _, p := range pixelTypes {
		for name, before := range variants(p) {
			for _, interlaced := range []bool{false, true} {
				t.Run(fmt.Sprintf("type %d, %d bits, %s, interlaced %v", p.colorType, p.depth, name, interlaced), func(t *testing.T) {
					for width := 1; width <= 9; width++ {
						for height := 1 + width%3; height <= 9; height += 3 {
							d := drawing{pixelType: p, width: width, height: height, interlaced: interlaced, before: before}
							data := d.file()
							checkSame(t, data, width, height)
							checkSame(t, data, (width+1)/2, max(1, height-1))
						}
					}
					d := drawing{pixelType: p, width: 67, height: 53, interlaced: interlaced, before: before}
					data := d.file()
					for _, size := range [][2]int{{67, 53}, {66, 52}, {31, 17}, {1, 1}} {
						checkSame(t, data, size[0], size[1])
					}
				})
			}
		}
	}
}

// TestEveryFilter compares rows that all have the same filter.
func TestEveryFilter(t *testing.T) {
	for _, p := range pixelTypes {
		for filter := range byte(5) {
			d := drawing{pixelType: p, width: 37, height: 11, filter: func(int) byte { return filter }, before: variants(p)[""]}
			checkSame(t, d.file(), 37, 11)
		}
	}
}
