package vision

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
)

// quality of the JPEG that is sent.
const quality = 80

// Decoder is implemented by the analyzer's describer. Upright returns the image scaled down to a long side of at most
// side pixels, upright and in sRGB.
type Decoder interface {
	Upright(ctx context.Context, data []byte, side int) (*image.NRGBA, error)
}

// Picture returns the image in the JPEG or PNG file data as the model gets it: scaled down to a long side of at
// most side pixels, upright, in sRGB, on white, and as a JPEG without any metadata. Errors are those of the decoder.
func Picture(ctx context.Context, d Decoder, data []byte, side int) ([]byte, error) {
	img, err := d.Upright(ctx, data, side)
	if err != nil {
		return nil, fmt.Errorf("decode image for the vision model: %w", err)
	}
	return encode(img)
}

// encode returns an image on white as a JPEG.
func encode(img image.Image) ([]byte, error) {
	flat := image.NewRGBA(img.Bounds())
	draw.Draw(flat, flat.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(flat, flat.Rect, img, flat.Rect.Min, draw.Over)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, flat, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode image for the vision model: %w", err)
	}
	return b.Bytes(), nil
}
