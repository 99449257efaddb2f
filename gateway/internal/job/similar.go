package job

import (
	"cmp"
	"math/bits"
	"slices"
)

// The distances that Similar accepts: bits in which two perceptual hashes differ. At
// DefaultDistance a smaller, a strongly compressed and a brighter copy are found. Unrelated
// photographs are at 20 and more.
const (
	DefaultDistance = 10
	MaxDistance     = 16
)

// Group is a group of similar images.
type Group struct {
	Exact     bool  // the originals have the same bytes
	Distance  int   // largest distance from the suggested image
	Suggested int   // index of the image to keep
	Images    []int // indexes, ascending, at least two
}

// Similar groups the job's images whose hashes differ in at most distance bits, in the order of
// their first images. It also returns how many images it has compared: those that have an
// [pipeline.Appearance]. The image to keep is the one with the most pixels, then the one with
// the largest file, then the first.
//
// Originals with the same bytes are an exact group. In the other groups, the suggested one
// stands for them. A group of similar images is a star around its suggested image: every
// image is within the distance of that one, but not of every other. Connected components
// would follow a chain of small steps to images that have nothing in common. The best
// image that is left is the center of the next group, so an image is in at most one group
// of each kind. A client that deletes each image that one of its groups does not suggest
// keeps a better one that is similar to it.
func (j *Job) Similar(distance int) (groups []Group, compared int) {
	type candidate struct {
		*Image
		hash uint64
	}
	var left []candidate
	for i := range j.Images {
		if hash, ok := j.Images[i].Appearance.Hash(); ok {
			left = append(left, candidate{&j.Images[i], hash})
		}
	}
	compared = len(left)
	slices.SortFunc(left, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(b.Appearance.Width*b.Appearance.Height, a.Appearance.Width*a.Appearance.Height),
			cmp.Compare(b.Original.Size, a.Original.Size),
			cmp.Compare(a.Index, b.Index),
		)
	})
	// collect removes the images that match the best one that is left, in turn, and returns
	// the best ones.
	collect := func(exact bool, match func(best, other candidate) (distance int, ok bool)) (bests []candidate) {
		for len(left) > 0 {
			best := left[0]
			g := Group{Exact: exact, Suggested: best.Index, Images: []int{best.Index}}
			rest := left[:0]
			for _, other := range left[1:] {
				if d, ok := match(best, other); ok {
					g.Distance, g.Images = max(g.Distance, d), append(g.Images, other.Index)
				} else {
					rest = append(rest, other)
				}
			}
			if len(g.Images) > 1 {
				slices.Sort(g.Images)
				groups = append(groups, g)
			}
			left, bests = rest, append(bests, best)
		}
		return bests
	}
	left = collect(true, func(best, other candidate) (int, bool) {
		return 0, best.Original.SHA256 != "" && best.Original.SHA256 == other.Original.SHA256
	})
	collect(false, func(best, other candidate) (int, bool) {
		d := bits.OnesCount64(best.hash ^ other.hash)
		return d, d <= distance
	})
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(a.Images[0], b.Images[0]) })
	return groups, compared
}
