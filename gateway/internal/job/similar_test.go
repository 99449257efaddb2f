package job_test

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// look returns a completed image with a hash, pixels in thousands, bytes and a checksum.
func look(hash uint64, pixels int, size int64, sum string) job.Image {
	return job.Image{
		Status: job.Completed, Original: job.Original{Path: "x", Size: size, SHA256: sum},
		Appearance: pipeline.Appearance{PHash: fmt.Sprintf("%016x", hash), Width: pixels, Height: 1000},
	}
}

func similar(distance int, images ...job.Image) ([]job.Group, int) {
	for i := range images {
		images[i].Index = i
	}
	return (&job.Job{Images: images}).Similar(distance)
}

func TestSimilar(t *testing.T) {
	old := look(0, 1, 1, "old")
	old.Appearance = pipeline.Appearance{}
	strange := look(0, 1, 1, "strange")
	strange.Appearance.PHash = "no hash of 64 bi"
	for name, c := range map[string]struct {
		distance int
		images   []job.Image
		want     []job.Group
	}{
		"none":     {16, []job.Image{look(0, 1, 1, "a"), look(1<<17-1, 1, 1, "b")}, nil},
		"no image": {16, nil, nil},
		"most pixels, then the largest file, then the first": {10, []job.Image{
			look(0, 1, 900, "a"), look(1, 2, 300, "b"), look(2, 2, 400, "c"), look(3, 2, 400, "d"),
		}, []job.Group{{Distance: 2, Suggested: 2, Images: []int{0, 1, 2, 3}}}},
		"at the distance": {
			3,
			[]job.Image{look(0, 1, 1, "a"), look(0b111, 1, 1, "b"), look(0b11110000, 1, 1, "c")},
			[]job.Group{{Distance: 3, Suggested: 0, Images: []int{0, 1}}},
		},
		"the same hash of other bytes": {
			0,
			[]job.Image{look(5, 1, 1, "a"), look(5, 1, 2, "b"), look(7, 1, 1, "c")},
			[]job.Group{{Suggested: 1, Images: []int{0, 1}}},
		},
		// Each is similar to the next one, but the last one is not similar to the first.
		"a chain is no group": {
			10,
			[]job.Image{look(0, 9, 1, "a"), look(0xff, 8, 1, "b"), look(0xffff, 7, 1, "c"), look(0xffffff, 6, 1, "d")},
			[]job.Group{{Distance: 8, Suggested: 0, Images: []int{0, 1}}, {Distance: 8, Suggested: 2, Images: []int{2, 3}}},
		},
		"exact copies are represented by the first": {
			10,
			[]job.Image{look(0, 1, 1, "a"), look(1, 2, 1, "b"), look(0, 1, 1, "a"), look(0, 1, 1, "a")},
			[]job.Group{{Exact: true, Suggested: 0, Images: []int{0, 2, 3}}, {Distance: 1, Suggested: 1, Images: []int{0, 1}}},
		},
		"without a checksum no copy is exact": {0, []job.Image{look(0, 1, 1, ""), look(0, 1, 1, "")}, []job.Group{{Suggested: 0, Images: []int{0, 1}}}},
		"images without a hash":               {16, []job.Image{old, strange, look(0, 1, 1, "old"), old}, nil},
	} {
		got, _ := similar(c.distance, c.images...)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	if _, compared := similar(10, old, strange, look(0, 1, 1, "a"), look(9, 1, 1, "b")); compared != 2 {
		t.Errorf("compared %d images, want 2", compared)
	}
}

// TestSimilarKeepsOneOfEach groups random images and verifies that the groups miss no similar
// image, and that a client that deletes what a group does not suggest keeps a better image
// for each.
func TestSimilarKeepsOneOfEach(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // A test must be repeatable.
	for range 200 {
		images := make([]job.Image, 100)
		for i := range images {
			hash := r.Uint64() & r.Uint64() & r.Uint64() // near to each other
			images[i] = look(hash, 1+r.IntN(3), int64(1+r.IntN(3)), fmt.Sprint(i))
			if i > 0 && r.IntN(4) == 0 {
				images[i] = images[r.IntN(i)] // a copy
			}
		}
		distance := r.IntN(job.MaxDistance + 1)
		groups, _ := similar(distance, images...)
		apart := func(a, b int) int {
			x, _ := images[a].Appearance.Hash()
			y, _ := images[b].Appearance.Hash()
			return bits.OnesCount64(x ^ y)
		}
		deleted, in := map[int]int{}, map[bool]map[int]bool{true: {}, false: {}}
		for n, g := range groups {
			farthest := 0
			for _, i := range g.Images {
				if in[g.Exact][i] {
					t.Fatalf("image %d is in two groups: %+v", i, groups)
				}
				in[g.Exact][i] = true
				farthest = max(farthest, apart(i, g.Suggested))
				if i != g.Suggested {
					deleted[i] = g.Suggested
				}
				if g.Exact && images[i].Original != images[g.Suggested].Original {
					t.Fatalf("image %d is no exact copy: %+v", i, g)
				}
			}
			if farthest != g.Distance || farthest > distance || len(g.Images) < 2 || !slices.IsSorted(g.Images) || !slices.Contains(g.Images, g.Suggested) {
				t.Fatalf("group %+v at distance %d, the farthest image is at %d", g, distance, farthest)
			}
			if n > 0 && g.Images[0] < groups[n-1].Images[0] {
				t.Fatalf("the groups are not in order: %+v", groups)
			}
		}
		for i := range images {
			kept := i
			for steps := 0; ; steps++ {
				better, ok := deleted[kept]
				if !ok {
					break
				}
				if kept = better; steps > 2 {
					t.Fatalf("no better image than %d is kept: %v", i, deleted)
				}
			}
			if apart(i, kept) > distance || images[kept].Appearance.Width < images[i].Appearance.Width {
				t.Fatalf("for image %d, image %d is kept, at distance %d", i, kept, apart(i, kept))
			}
			for k := range i {
				if _, a := deleted[i]; a {
					continue
				}
				if _, b := deleted[k]; !b && apart(i, k) <= distance {
					t.Fatalf("images %d and %d are kept, and their distance is %d", i, k, apart(i, k))
				}
			}
		}
	}
}
