package visual

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// colors sets the values about colors.
func colors(c *Copy, m *pipeline.Metadata) {
	m.MeanColor, m.Colors = c.meanColor(), c.palette()
	m.Saturation, m.Colorfulness, m.Warmth = c.saturation(), c.colorfulness(), c.warmth()
}

// cluster is a set of pixels of similar colors.
type cluster struct {
	n, r, g, b int // number of pixels, and the sums of their samples
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

// whole returns the cluster of all visible pixels.
func (m *Copy) whole() cluster {
	var all cluster
	for _, c := range m.cells {
		all.add(cluster{int(c.n), int(c.r), int(c.g), int(c.b)})
	}
	return all
}

// meanColor returns the mean of the sRGB samples of the visible pixels as "#rrggbb", or "" if none is visible.
func (m *Copy) meanColor() string {
	if m.seen == 0 {
		return ""
	}
	return m.whole().hex()
}

// saturation returns the HSV saturation, (max−min)/max, of all pixels together, 0 to 1 with 4 decimals. Bright
// pixels count for more, because the saturation of dark ones is mostly noise.
func (m *Copy) saturation() float64 {
	if m.greatest == 0 {
		return 0
	}
	sum := int64(0)
	for v, n := range m.chromas {
		sum += int64(v) * int64(n)
	}
	return record.Round(float64(sum)/float64(m.greatest), 4)
}

// warmth returns the excess of red over blue, −1 to 1, 4 decimals.
func (m *Copy) warmth() float64 {
	all := m.whole()
	if all.n == 0 {
		return 0
	}
	return record.Round(float64(all.r-all.b)/float64(all.n)/255, 4)
}

// colorfulness returns M̂(3) of D. Hasler and S. Süsstrunk, Measuring colourfulness in natural images, 2003,
// of samples from 0 to 255; 2 decimals.
func (m *Copy) colorfulness() float64 {
	if m.seen == 0 {
		return 0
	}
	redGreen, redGreenSD := m.redGreen.over(m.seen)
	yellow, yellowSD := m.yellow.over(m.seen)
	return record.Round(math.Hypot(redGreenSD, yellowSD/2)+0.3*math.Hypot(redGreen, yellow/2), 2)
}

// Bounds of the search for dominant colors.
const (
	maxColors = 5
	// maxClusters bounds the work. An image of more colors than that has no dominant one.
	maxClusters = 64
	// sameColor is the color difference, squared, up to which two colors count as the same: about 35 steps of
	// each channel.
	sameColor = 12_000
)

// palette returns the most frequent colors of the visible pixels and the share of them that each covers, most
// frequent first. Pixels are counted in a grid of 16×16×16 cells; a cell joins the most frequent cell whose
// mean looks like its own. The result is not random and does not depend on map order.
func (m *Copy) palette() []pipeline.ColorShare {
	var cells []cluster
	for _, c := range m.cells {
		if c.n > 0 {
			cells = append(cells, cluster{int(c.n), int(c.r), int(c.g), int(c.b)})
		}
	}
	byFrequency := func(a, b cluster) int { return cmp.Compare(b.n, a.n) }
	slices.SortStableFunc(cells, byFrequency)

	var seeds []seed
	var clusters []cluster
	for _, cell := range cells {
		s := seedOf(cell)
		i := slices.IndexFunc(seeds, func(o seed) bool { return difference(o, s) <= sameColor })
		switch {
		case i >= 0:
			clusters[i].add(cell)
		case len(seeds) < maxClusters:
			seeds, clusters = append(seeds, s), append(clusters, cell)
		}
	}
	slices.SortStableFunc(clusters, byFrequency)
	var found []pipeline.ColorShare
	for _, c := range clusters[:min(len(clusters), maxColors)] {
		r, g, b := c.mean()
		lab := labOf(r, g, b)
		found = append(found, pipeline.ColorShare{
			Hex: c.hex(), Share: record.Round(float64(c.n)/float64(m.seen), 4),
			Name: nearestName(lab),
			Lab:  [3]float64{record.Round(lab.l, 2), record.Round(lab.a, 2), record.Round(lab.b, 2)},
		})
	}
	return found
}

// seed is the mean color of the cell that a cluster grows from.
type seed struct{ r, g, b int }

func seedOf(c cluster) seed {
	r, g, b := c.mean()
	return seed{r, g, b}
}

// difference returns the square of the visual difference of two colors: the "redmean" approximation (T.
// Riemersma, Colour metric, CompuPhase), in integers.
func difference(a, b seed) int {
	red := (a.r + b.r) / 2
	dr, dg, db := a.r-b.r, a.g-b.g, a.b-b.b
	return (512+red)*dr*dr>>8 + 4*dg*dg + (767-red)*db*db>>8
}
