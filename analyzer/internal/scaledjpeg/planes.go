package scaledjpeg

import (
	"image"
	"image/color"
)

// image returns the image of the planes after all scans have been read.
func (d *decoder) image() (image.Image, error) {
	if len(d.components) == 0 {
		return nil, errNoFrame
	}
	for i := range d.components {
		c := &d.components[i]
		if !c.scanned {
			return nil, errNoScan
		}
		if c.coded != nil {
			d.transformProgressed(c)
		}
	}
	bounds := image.Rect(0, 0, d.scaled(d.width), d.scaled(d.height))
	switch first := &d.components[0]; {
	case len(d.components) == 1:
		return &image.Gray{Pix: first.pix, Stride: first.stride, Rect: bounds}, nil
	case len(d.components) == 4:
		return d.cmyk(bounds), nil
	case d.isRGB():
		m := image.NewRGBA(bounds)
		d.interleave(m.Pix, m.Stride)
		return m, nil
	default:
		return d.ycbcr(bounds), nil
	}
}

// isRGB follows libjpeg: no JFIF, and either Adobe's transform 0 or the components R, G and B.
func (d *decoder) isRGB() bool {
	if d.jfif || d.adobe {
		return !d.jfif && d.transform == 0
	}
	c := d.components
	return c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B'
}

func (d *decoder) isYCCK() bool { return d.adobe && d.transform != 0 }

// ycbcr returns the planes as they are, or with all samples of the image's size if image.YCbCr has no name for
// their subsampling.
func (d *decoder) ycbcr(bounds image.Rectangle) *image.YCbCr {
	y, cb, cr := &d.components[0], &d.components[1], &d.components[2]
	ratio, named := subsampling(cb.across, cb.down)
	if !named || y.across*y.down != 1 || cb.across != cr.across || cb.down != cr.down {
		for i := range d.components {
			d.widen(&d.components[i], bounds)
		}
		ratio = image.YCbCrSubsampleRatio444
	}
	return &image.YCbCr{
		Y: y.pix, Cb: cb.pix, Cr: cr.pix, YStride: y.stride, CStride: cb.stride, SubsampleRatio: ratio, Rect: bounds,
	}
}

func subsampling(across, down int) (ratio image.YCbCrSubsampleRatio, named bool) {
	switch across<<4 | down {
	case 0x11:
		return image.YCbCrSubsampleRatio444, true
	case 0x12:
		return image.YCbCrSubsampleRatio440, true
	case 0x21:
		return image.YCbCrSubsampleRatio422, true
	case 0x22:
		return image.YCbCrSubsampleRatio420, true
	case 0x41:
		return image.YCbCrSubsampleRatio411, true
	case 0x42:
		return image.YCbCrSubsampleRatio410, true
	default:
		return 0, false
	}
}

// widen repeats the samples of a plane that is smaller than the image, and removes the padding of its rows.
func (d *decoder) widen(c *component, bounds image.Rectangle) {
	width, height := bounds.Dx(), bounds.Dy()
	pix := c.pix
	if c.across*c.down > 1 {
		pix = make([]byte, width*height)
	}
	for y := range height {
		c.row(y, pix[y*width:][:width], 1)
	}
	c.pix, c.stride, c.across, c.down = pix[:width*height], width, 1, 1
}

// row sets every step-th byte of dst to the samples of a plane in row y of the image.
func (c *component) row(y int, dst []byte, step int) {
	src := c.pix[y/c.down*c.stride:][:c.stride]
	if c.across == 1 {
		for i, x := 0, 0; i < len(dst); i, x = i+step, x+1 {
			dst[i] = src[x]
		}
		return
	}
	for i, x := 0, 0; i < len(dst); x++ {
		for n := 0; n < c.across && i < len(dst); n++ {
			dst[i] = src[x]
			i += step
		}
	}
}

// interleave sets the first components of each pixel of four bytes to the samples of the planes, and the fourth
// to 255 if there are three planes.
func (d *decoder) interleave(pix []byte, stride int) {
	for y := range len(pix) / stride {
		row := pix[y*stride:][:stride]
		for i := range d.components {
			d.components[i].row(y, row[i:], 4)
		}
		if len(d.components) == 3 {
			for i := 3; i < len(row); i += 4 {
				row[i] = 255
			}
		}
	}
}

// cmyk returns the image of four planes. All of them are stored inverted, as Adobe does: whether there is a
// segment of Adobe's or not, libjpeg's own programs and browsers assume that. YCCK is CMYK in which YCbCr stands
// for the complement of CMY (Adobe Technical Note #5116).
func (d *decoder) cmyk(bounds image.Rectangle) *image.CMYK {
	m := image.NewCMYK(bounds)
	d.interleave(m.Pix, m.Stride)
	ycck := d.isYCCK()
	for i := 0; i+4 <= len(m.Pix); i += 4 {
		p := m.Pix[i : i+4 : i+4]
		if ycck {
			p[0], p[1], p[2] = color.YCbCrToRGB(p[0], p[1], p[2])
		} else {
			p[0], p[1], p[2] = 255-p[0], 255-p[1], 255-p[2]
		}
		p[3] = 255 - p[3]
	}
	return m
}
