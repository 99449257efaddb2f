package colorprofile

import (
	"slices"
	"testing"
)

// FuzzProfile verifies that every profile is refused or gives a transform that converts each pixel by its samples
// alone and keeps the alpha of RGB and gray.
func FuzzProfile(f *testing.F) {
	for _, profile := range charts() {
		if len(profile) < 20<<10 {
			f.Add(profile)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkTransform(t, data)
	})
}

func checkTransform(t *testing.T, data []byte) {
	transform, err := Parse(data)
	if err != nil {
		return
	}
	var pix []byte
	for i := range 256 {
		pix = append(pix, byte(i), byte(7*i), byte(31*i), byte(5*i))
	}
	before := slices.Clone(pix)
	transform.Apply(pix)
	for i := 0; i < len(pix); i += 4 {
		alone := slices.Clone(before[i : i+4])
		transform.Apply(alone)
		if !slices.Equal(alone, pix[i:i+4]) {
			t.Fatalf("%v becomes %v and %v", before[i:i+4], alone, pix[i:i+4])
		}
		if transform.Space() == CMYK && pix[i+3] != 255 || transform.Space() != CMYK && pix[i+3] != before[i+3] {
			t.Fatalf("%v of %s becomes %v", before[i:i+4], transform.Space(), pix[i:i+4])
		}
	}
}

// FuzzChunks verifies that the PNG chunks are refused or give a transform under which white is the lightest gray.
func FuzzChunks(f *testing.F) {
	f.Add([]byte{9, 16, 0, 1}, gamma(45455), chromaticities(codePoints[9]))
	f.Fuzz(func(t *testing.T, chunk, gama, chrm []byte) {
		for _, s := range []Sources{{CICP: chunk}, {Gamma: gama}, {Primaries: chrm, Gamma: gama}} {
			transform, _ := Choose(s, RGB)
			if transform == nil {
				continue
			}
			if white := apply(transform, 255, 255, 255); !near(white, [3]byte{255, 255, 255}) {
				t.Fatalf("%v: white becomes %v", s, white)
			}
		}
	})
}
