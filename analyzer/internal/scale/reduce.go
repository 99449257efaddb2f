// Package scale scales images down to the small copies that are measured, and turns them upright. A pixel of a
// copy is the mean of its area, computed in integers, so it is the same on every machine.
package scale

import (
	"image"
	"image/color"
	"image/draw"
)

// Reduce returns the image scaled to width × height; each pixel is the mean of its area. The mean is computed
// from the samples as they are stored, without removing the gamma, as thumbnails are commonly made; colors
// count by their alpha. Planes are averaged before color conversion, so that only the small image is converted.
//
// inks converts pixels of CMYK to opaque RGB in place, and 255 is full ink. If it is nil, CMYK is converted
// without a profile, before the mean.
func Reduce(m image.Image, width, height int, inks func(pix []byte)) *image.NRGBA {
	return reduceBy(source.average, m, width, height, inks)
}

// ReduceScaled does the same for an image that was decoded at a scale and is less than twice as long as the
// result.
func ReduceScaled(m image.Image, width, height int, inks func(pix []byte)) *image.NRGBA {
	return reduceBy(source.resample, m, width, height, inks)
}

// reduceBy scales the samples of the image with scale. Chroma samples, which may stand for several pixels each,
// are always averaged.
func reduceBy(scale func(s source, width, height int) []byte, m image.Image, width, height int, inks func(pix []byte)) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	switch m := m.(type) {
	case *image.YCbCr:
		if m.Rect.Min == (image.Point{}) {
			reduceYCbCr(scale, out, m)
			return out
		}
	case *image.Gray:
		gray := source{width: m.Rect.Dx(), height: m.Rect.Dy(), channels: 1, row: func(y int) []byte {
			return m.Pix[y*m.Stride:]
		}}
		for i, y := range scale(gray, width, height) {
			copy(out.Pix[4*i:], []byte{y, y, y, 255})
		}
		return out
	case *image.CMYK:
		if inks != nil {
			channels := source{width: m.Rect.Dx(), height: m.Rect.Dy(), channels: 4, row: func(y int) []byte {
				return m.Pix[y*m.Stride:]
			}}
			copy(out.Pix, scale(channels, width, height))
			inks(out.Pix)
			return out
		}
	}
	setStraight(out.Pix, scale(premultiplied(m), width, height))
	return out
}

// reduceYCbCr scales the three planes, whatever their subsampling, to the size of out.
func reduceYCbCr(scale func(s source, width, height int) []byte, out *image.NRGBA, m *image.YCbCr) {
	width, height := out.Rect.Dx(), out.Rect.Dy()
	subX, subY := subsampling(m.SubsampleRatio)
	plane := func(pix []byte, stride, subX, subY int) source {
		return source{
			width: m.Rect.Dx(), height: m.Rect.Dy(), channels: 1, subX: subX, subY: subY,
			row: func(y int) []byte { return pix[y*stride:] },
		}
	}
	ys := scale(plane(m.Y, m.YStride, 1, 1), width, height)
	cbs := plane(m.Cb, m.CStride, subX, subY).average(width, height)
	crs := plane(m.Cr, m.CStride, subX, subY).average(width, height)
	scaled := image.YCbCr{
		Y: ys, Cb: cbs, Cr: crs, YStride: width, CStride: width, SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: out.Rect,
	}
	// Opaque pixels are the same in both types. draw converts to this one without a call for each pixel.
	opaque := image.RGBA{Pix: out.Pix, Stride: out.Stride, Rect: out.Rect}
	draw.Draw(&opaque, opaque.Rect, &scaled, image.Point{}, draw.Src)
}

// subsampling returns the number of pixels that one chroma sample stands for, across and down.
func subsampling(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	default:
		return 1, 1
	}
}

// premultiplied returns the rows of any image as RGBA with eight bits per sample and the colors multiplied by
// alpha, as means require.
func premultiplied(m image.Image) source {
	b := m.Bounds()
	s := source{width: b.Dx(), height: b.Dy(), channels: 4}
	buf := make([]byte, 4*s.width)
	switch m := m.(type) {
	case *image.RGBA:
		s.row = func(y int) []byte { return m.Pix[y*m.Stride:] }
	case *image.NRGBA:
		s.row = func(y int) []byte {
			return premultiply(buf, m.Pix[y*m.Stride:][:4*s.width])
		}
	case *image.CMYK:
		s.row = func(y int) []byte {
			row := m.Pix[y*m.Stride:]
			for i := 0; i < len(buf); i += 4 {
				p, ink := buf[i:i+4:i+4], row[i:i+4:i+4]
				p[0], p[1], p[2] = color.CMYKToRGB(ink[0], ink[1], ink[2], ink[3])
				p[3] = 255
			}
			return buf
		}
	case *image.Paletted:
		table := paletteTable(m.Palette)
		s.row = func(y int) []byte {
			for x, index := range m.Pix[y*m.Stride:][:s.width] {
				copy(buf[4*x:4*x+4], table[index][:])
			}
			return buf
		}
	case image.RGBA64Image:
		s.row = func(y int) []byte {
			for x := range s.width {
				c := m.RGBA64At(b.Min.X+x, b.Min.Y+y)
				p := buf[4*x : 4*x+4 : 4*x+4]
				p[0], p[1], p[2], p[3] = uint8(c.R>>8), uint8(c.G>>8), uint8(c.B>>8), uint8(c.A>>8)
			}
			return buf
		}
	default:
		s.row = func(y int) []byte {
			for x := range s.width {
				r, g, bl, a := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
				p := buf[4*x : 4*x+4 : 4*x+4]
				p[0], p[1], p[2], p[3] = uint8(r>>8), uint8(g>>8), uint8(bl>>8), uint8(a>>8)
			}
			return buf
		}
	}
	return s
}

// premultiply multiplies a row of straight RGBA by its alpha into buf. It returns an opaque row unchanged.
func premultiply(buf, row []byte) []byte {
	opaque := byte(255)
	for i := 3; i < len(row); i += 4 {
		opaque &= row[i]
	}
	if opaque == 255 {
		return row
	}
	for i := 0; i+4 <= len(row); i += 4 {
		alpha := uint32(row[i+3])
		for c := range 3 {
			buf[i+c] = uint8((uint32(row[i+c])*alpha + 127) / 255)
		}
		buf[i+3] = row[i+3]
	}
	return buf
}

// paletteTable returns the palette as premultiplied RGBA. As in image/png, an index beyond the palette is
// opaque black.
func paletteTable(p color.Palette) *[256][4]byte {
	var table [256][4]byte
	for i := range table {
		table[i][3] = 255
		if i < len(p) && p[i] != nil {
			r, g, b, a := p[i].RGBA()
			table[i] = [4]byte{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}
		}
	}
	return &table
}

// setStraight converts premultiplied RGBA to straight RGBA.
func setStraight(dst, src []byte) {
	for i := 0; i+4 <= len(src); i += 4 {
		alpha := uint32(src[i+3])
		if alpha == 255 {
			copy(dst[i:i+4], src[i:i+4])
			continue
		}
		dst[i+3] = src[i+3]
		for c := range 3 {
			if alpha > 0 {
				dst[i+c] = uint8(min(255, (uint32(src[i+c])*255+alpha/2)/alpha))
			}
		}
	}
}

// Plane returns a plane of samples of width × height as the means of their areas at another size, regardless of
// its shape.
func Plane(pix []byte, width, height, toWidth, toHeight int) []byte {
	s := source{width: width, height: height, channels: 1, row: func(y int) []byte { return pix[y*width:] }}
	return s.average(toWidth, toHeight)
}

// Fit returns width and height scaled down so that the longer side is at most side and neither is less than 1.
func Fit(width, height, side int) (int, int) {
	long := max(width, height)
	if long <= side {
		return width, height
	}
	scale := func(n int) int { return max(1, (n*side+long/2)/long) }
	return scale(width), scale(height)
}
