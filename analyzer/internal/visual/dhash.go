package visual

import (
	"fmt"

	"github.com/imagebatch/imagebatch/analyzer/internal/scale"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// dHash sets the hash.
func dHash(c *Copy, m *pipeline.Metadata) { m.DHash = dHashOf(c.light) }

// dHashOf returns a perceptual hash of 64 bits as 16 hex digits (N. Krawetz, Kind of Like That, The Hacker Factor
// Blog, 2013). The luma is scaled to 9×8; a bit is 1 if a pixel is brighter than the one to its left, row by
// row, most significant bit first. Copies of an image differ in a few bits; other images in about 32. It is
// coarser than [pHashOf] and tolerates changes of brightness better.
func dHashOf(p plane) string {
	const width, height = 9, 8
	small := scale.Plane(p.pix, p.width, p.height, width, height)
	hash := uint64(0)
	for y := range height {
		row := small[y*width:][:width]
		for x := 1; x < width; x++ {
			hash <<= 1
			if row[x] > row[x-1] {
				hash |= 1
			}
		}
	}
	return fmt.Sprintf("%016x", hash)
}
