package visual

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Thumbnail encodes the copy as a JPEG of at most [pipeline.MaxThumbnailBytes], in the best of a few
// qualities that fits. Noise of the working size fits from quality 28 on.
func (m *Copy) Thumbnail() ([]byte, error) {
	var b bytes.Buffer
	for _, quality := range [...]int{82, 74, 62, 46, 28, 10, 1} {
		b.Reset()
		if err := jpeg.Encode(&b, m.OnWhite, &jpeg.Options{Quality: quality}); err != nil {
			return nil, fmt.Errorf("encode thumbnail: %w", err)
		}
		if b.Len() <= pipeline.MaxThumbnailBytes {
			return b.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("encode thumbnail: %d bytes at the lowest quality", b.Len())
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
