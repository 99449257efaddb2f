package visual

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// smallSide is the shorter side in pixels from which on half the resolution is enough for the colors of a thumbnail.
const smallSide = 32

// Thumbnail encodes the copy as a JPEG of at most [pipeline.MaxThumbnailBytes], in the best of a few
// qualities that fits. Noise of the working size fits from quality 28 on. A small image keeps the color of each pixel.
func (m *Copy) Thumbnail() ([]byte, error) {
	qualities, encode := []int{82, 74, 62, 46, 28, 10, 1}, halfColor
	if min(m.light.width, m.light.height) < smallSide {
		qualities, encode = append([]int{100, 95}, qualities...), fullColor
	}
	size := 0
	for _, quality := range qualities {
		thumbnail, err := encode(m.OnWhite, quality)
		if err != nil {
			return nil, fmt.Errorf("encode thumbnail: %w", err)
		}
		if size = len(thumbnail); size <= pipeline.MaxThumbnailBytes {
			return thumbnail, nil
		}
	}
	return nil, fmt.Errorf("encode thumbnail: %d bytes at the lowest quality", size)
}

// fullColor encodes a baseline JPEG without chroma subsampling (4:4:4), which image/jpeg cannot write. It lets
// image/jpeg encode the three components as gray images with equal tables, and joins them to one image of three scans.
func fullColor(m *image.RGBA, quality int) ([]byte, error) {
	r := m.Bounds()
	var planes [3]*image.Gray
	for c := range planes {
		planes[c] = image.NewGray(r)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			c := color.YCbCrModel.Convert(m.At(x, y)).(color.YCbCr) //nolint:forcetypeassert // It is the model's type.
			for i, v := range [...]uint8{c.Y, c.Cb, c.Cr} {
				planes[i].SetGray(x, y, color.Gray{Y: v})
			}
		}
	}
	var out []byte
	for c, plane := range planes {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, plane, &jpeg.Options{Quality: quality}); err != nil {
			return nil, err //nolint:wrapcheck // The caller wraps it.
		}
		data := b.Bytes()
		for at := 2; ; { // behind the start-of-image marker
			marker, end := data[at+1], at+2+int(binary.BigEndian.Uint16(data[at+2:]))
			segment := data[at:end]
			if c == 0 && at == 2 {
				out = append(out, data[:2]...)
			}
			if marker == markerSOF0 && c == 0 {
				frame := append([]byte{0xff, markerSOF0, 0, 17}, segment[4:9]...) // precision and size
				out = append(out, append(frame, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)...)
			} else if marker == markerSOS {
				segment[5] = byte(c + 1) // the component
				out = append(out, data[at:len(data)-2]...)
				break
			} else if c == 0 {
				out = append(out, segment...)
			}
			at = end
		}
	}
	return append(out, 0xff, markerEOI), nil
}

// onWhite returns the image on white. An opaque image is not copied: without alpha, straight and premultiplied
// samples are the same.
func onWhite(m *image.NRGBA) *image.RGBA {
	flat := &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
	if m.Opaque() {
		return flat
	}
	flat.Pix = make([]byte, len(m.Pix))
	for i := 0; i < len(m.Pix); i += 4 {
		alpha := uint32(m.Pix[i+3])
		for c := range 3 {
			flat.Pix[i+c] = uint8((uint32(m.Pix[i+c])*alpha + 255*(255-alpha) + 127) / 255)
		}
		flat.Pix[i+3] = 255
	}
	return flat
}
