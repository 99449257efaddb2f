package scale

import (
	"image"

	"github.com/disintegration/imaging"
)

// Upright rotates and mirrors an image as its EXIF orientation (1 to 8) specifies. The library rotates
// counter-clockwise.
func Upright(m *image.NRGBA, orientation int) *image.NRGBA {
	switch orientation {
	case 2:
		return imaging.FlipH(m)
	case 3:
		return imaging.Rotate180(m)
	case 4:
		return imaging.FlipV(m)
	case 5:
		return imaging.Transpose(m)
	case 6:
		return imaging.Rotate270(m)
	case 7:
		return imaging.Transverse(m)
	case 8:
		return imaging.Rotate90(m)
	default:
		return m
	}
}
