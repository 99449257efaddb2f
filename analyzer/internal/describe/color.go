package describe

import (
	"cmp"
	"fmt"
	"image"
	"slices"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// opaqueEnough is the alpha from which a pixel's colour counts.
const opaqueEnough = 128

// cluster is a set of pixels of similar colours.
type cluster struct {
	n, r, g, b int // pixels, and the sums of their samples
}

func (c cluster) mean() (r, g, b int) {
	return (c.r + c.n/2) / c.n, (c.g + c.n/2) / c.n, (c.b + c.n/2) / c.n
}

func (c cluster) hex() string {
	r, g, b := c.mean()
	return fmt.Sprintf("#%02x%02x%02x", r, g, b)
}

func (c *cluster) add(o cluster) {
	c.n, c.r, c.g, c.b = c.n+o.n, c.r+o.r, c.g+o.g, c.b+o.b
}

// meanColor is the mean of the sRGB samples as "#rrggbb", of the pixels that can be
// seen; "" when none can.
func meanColor(m *image.NRGBA) string {
	var all cluster
	for i := 0; i+4 <= len(m.Pix); i += 4 {
		p := m.Pix[i : i+4 : i+4]
		if p[3] >= opaqueEnough {
			all.add(cluster{1, int(p[0]), int(p[1]), int(p[2])})
		}
	}
	if all.n == 0 {
		return ""
	}
	return all.hex()
}

// Bounds of the search for dominant colours.
const (
	maxColors = 5
	// maxClusters bounds the work. A picture of more colours than that has none
	// that dominates.
	maxClusters = 64
	// sameColor is the colour difference, squared, up to which two colours are one:
	// about 35 steps of each channel.
	sameColor = 12_000
)

// dominantColors are the most frequent colours of the pixels that can be seen and
// the share of them that each covers, most frequent first. Pixels are counted in
// a grid of 16×16×16 cells; a cell joins the most frequent cell whose mean looks
// like its own. Nothing in it is random or depends on an order that could change.
func dominantColors(m *image.NRGBA) []pipeline.ColorShare {
	cells := make([]cluster, 16*16*16)
	total := 0
	for i := 0; i+4 <= len(m.Pix); i += 4 {
		p := m.Pix[i : i+4 : i+4]
		if p[3] >= opaqueEnough {
			cell := int(p[0]>>4)<<8 | int(p[1]>>4)<<4 | int(p[2]>>4)
			cells[cell].add(cluster{1, int(p[0]), int(p[1]), int(p[2])})
			total++
		}
	}
	cells = slices.DeleteFunc(cells, func(c cluster) bool { return c.n == 0 })
	byFrequency := func(a, b cluster) int { return cmp.Compare(b.n, a.n) }
	slices.SortStableFunc(cells, byFrequency)

	var seeds, clusters []cluster
	for _, cell := range cells {
		i := slices.IndexFunc(seeds, func(seed cluster) bool { return difference(seed, cell) <= sameColor })
		switch {
		case i >= 0:
			clusters[i].add(cell)
		case len(seeds) < maxClusters:
			seeds, clusters = append(seeds, cell), append(clusters, cell)
		}
	}
	slices.SortStableFunc(clusters, byFrequency)
	var colors []pipeline.ColorShare
	for _, c := range clusters[:min(len(clusters), maxColors)] {
		colors = append(colors, pipeline.ColorShare{Hex: c.hex(), Share: round(float64(c.n)/float64(total), 4)})
	}
	return colors
}

// difference is the square of how different the means of two clusters look: the
// "redmean" approximation (T. Riemersma, Colour metric, CompuPhase), in whole
// numbers.
func difference(a, b cluster) int {
	ar, ag, ab := a.mean()
	br, bg, bb := b.mean()
	red := (ar + br) / 2
	dr, dg, db := ar-br, ag-bg, ab-bb
	return (512+red)*dr*dr>>8 + 4*dg*dg + (767-red)*db*db>>8
}
