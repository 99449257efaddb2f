// Package colorprofile converts 8-bit samples to sRGB, so that a thumbnail and the color statistics keep the
// meaning of the file's color profile.
//
// It reads ICC profiles of versions 2 and 4 for RGB, gray and CMYK: matrix and tone curves (curv, para), and
// the tables mft1, mft2 and mAB, with Lab or XYZ as the connection space. It also builds transforms from the
// PNG chunks gAMA, cHRM and cICP, and for Adobe RGB. It does not read multi-processing elements (D2B0 to D2B3),
// device links, named colors, nor profiles for other spaces, such as six inks or Lab.
//
// # Rendering
//
// The rendering intent is relative colorimetric without black point compensation, whatever the profile's header
// says: white becomes white, and colors outside sRGB are clipped channel by channel. libvips does the same by
// default. A profile with tables is used through A2B1, or through A2B0 if it lacks that. A profile with both
// tables and a matrix is used through its tables. The connection space is D50; the matrix from D50 to sRGB
// contains the Bradford adaptation to D65. Thus the tags wtpt and chad have no effect.
//
// A transform that changes no color of a test set by more than [SameLevels] levels is the identity and costs
// nothing. The test is by the result and not by the name, because the profiles called sRGB differ in their
// bytes, and some that are called sRGB are not.
//
// PQ and HLG have no ICC meaning here. Their light is scaled so that the reference white of 203 cd/m² (ITU-R
// BT.2408) is 1, and one curve compresses light from half of that to 1,000 cd/m² into the rest of the sRGB
// range, channel by channel. Reference white becomes level 225, so that highlights remain visible. HLG uses the
// system gamma of 1.2 for each channel.
//
// # Cost and error
//
// Convert the small copy of an image, after its reduction. A pixel takes about 5 ns through a matrix, and 40 to
// 60 ns through a table: at most 6 ms for a working copy of 320×320 pixels. libvips converts its thumbnails
// after their reduction too.
//
// A mean of stored samples is not the mean of the converted ones where an area mixes colors that differ. Half of
// black and half of white become 128 in sRGB and Display P3, 128 in Adobe RGB, 146 in ProPhoto and 188 in a linear
// profile. For two random colors of 8 bits, the means differ by 6 levels on average in Adobe RGB and Display P3,
// by 9 in a profile of a press, and by 16 in ProPhoto. Within an area of one color there is no difference.
//
// # Untrusted profiles
//
// Profiles come from untrusted clients. A profile may have at most [MaxBytes] bytes. Tables are read in place,
// so that a transform needs at most 128 KiB of its own whatever the profile claims, and conversion takes a
// bounded time per pixel. No profile makes Parse or Apply panic.
package colorprofile

import (
	"errors"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// MaxBytes is the largest size of a profile.
const MaxBytes = imagefile.MaxProfile

// SameLevels is the difference of 8-bit levels up to which a color counts as unchanged.
const SameLevels = 2

// ErrUnsupported is returned for sound profiles and chunks that this package cannot convert. Every other error
// means that the data are damaged.
var ErrUnsupported = errors.New("unsupported")

// Space is the kind of samples that a transform converts.
type Space int

// The spaces.
const (
	RGB Space = iota
	Gray
	CMYK
)

func (s Space) String() string {
	return [...]string{"RGB", "gray", "CMYK"}[s]
}

// Transform converts samples to sRGB. It is safe for concurrent use. It refers to the bytes of the profile,
// which must not be changed.
type Transform struct {
	space    Space
	identity bool
	shaper   *shaper        // for RGB with a matrix
	gray     *[256][3]uint8 // for gray
	table    *lut           // for RGB and CMYK with a table
}

// Space returns the kind of samples that the transform converts.
func (t *Transform) Space() Space { return t.space }

// Identity reports whether Apply changes nothing, because the samples are sRGB already.
func (t *Transform) Identity() bool { return t.identity }

// Apply converts pixels of four bytes in place. For RGB, a pixel is R, G, B and a straight alpha, which stays as
// it is. For gray, it is the same with equal R, G and B. For CMYK, 255 is full ink, and the pixel becomes
// opaque RGB.
func (t *Transform) Apply(pix []byte) {
	if t.identity {
		return
	}
	for ; len(pix) >= 4; pix = pix[4:] {
		p := pix[:4:4]
		switch {
		case t.gray != nil:
			c := &t.gray[p[0]]
			p[0], p[1], p[2] = c[0], c[1], c[2]
		case t.shaper != nil:
			p[0], p[1], p[2] = t.shaper.convert(p[0], p[1], p[2])
		case t.space == CMYK:
			p[0], p[1], p[2] = t.table.convert([4]byte(p))
			p[3] = 255
		default:
			p[0], p[1], p[2] = t.table.convert([4]byte(p))
		}
	}
}

// finish sets whether the transform is the identity: it converts every gray and a cube of 9×9×9 colors, and
// compares.
func (t *Transform) finish() *Transform {
	if t.space == CMYK {
		return t
	}
	var before []byte
	for v := range 256 {
		before = append(before, byte(v), byte(v), byte(v), 255)
	}
	const steps = 8
	for i := 0; t.space == RGB && i < (steps+1)*(steps+1)*(steps+1); i++ {
		r, g, b := i/(steps+1)/(steps+1), i/(steps+1)%(steps+1), i%(steps+1)
		before = append(before, byte(255*r/steps), byte(255*g/steps), byte(255*b/steps), 255)
	}
	after := append([]byte(nil), before...)
	t.Apply(after)
	t.identity = true
	for i, v := range before {
		if d := int(v) - int(after[i]); d > SameLevels || d < -SameLevels {
			t.identity = false
			break
		}
	}
	return t
}
