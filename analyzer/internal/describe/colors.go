package describe

import (
	"image"

	"github.com/imagebatch/imagebatch/analyzer/internal/colorprofile"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/analyzer/internal/visual"
	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// conversion converts samples to sRGB, by what the file states about its colors. At most one of the functions
// is not nil: one for the inks of CMYK, or one for RGB and gray. Both change pixels of four bytes in place.
type conversion struct{ inks, straight func(pix []byte) }

// colorsOf returns the conversion for a file. It is empty if the samples are sRGB, or inks without a profile.
func colorsOf(h imagefile.Header, view imagefile.Metadata, warned *record.Warnings) conversion {
	samples := colorprofile.RGB
	switch h.ColorModel {
	case imagefile.Gray:
		samples = colorprofile.Gray
	case imagefile.CMYK:
		samples = colorprofile.CMYK
	}
	t, problems := colorprofile.Choose(colorprofile.Sources{
		CICP: view.Color.CICP, Profile: view.ICC.Data, SRGB: view.Color.SRGB != nil, Gamma: view.Color.Gamma,
		Primaries: view.Color.Chromaticities, InteropR03: view.Color.AdobeRGB,
	}, samples)
	for _, problem := range problems {
		warned.Add("colors: %v", problem)
	}
	switch {
	case t == nil || t.Identity():
		return conversion{}
	case samples == colorprofile.CMYK:
		return conversion{inks: t.Apply}
	default:
		return conversion{straight: t.Apply}
	}
}

// apply converts the working copy of an image that is not CMYK. It returns the levels before the conversion, or
// nil if there is none: a color outside sRGB is clipped, but nothing was clipped when it was stored.
func (c conversion) apply(img *image.NRGBA) *[256]uint32 {
	if c.straight == nil {
		return nil
	}
	stored := visual.Levels(img)
	c.straight(img.Pix)
	return &stored
}
