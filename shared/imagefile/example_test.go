package imagefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Read checks a file without decoding its pixels.
func Example() {
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 640, 480))); err != nil {
		fmt.Println(err)
		return
	}
	h, err := imagefile.Read(file.Bytes(), imagefile.Limits{})
	fmt.Println(h.ContentType(), h.Width, "×", h.Height, err)

	_, err = imagefile.Read(file.Bytes(), imagefile.Limits{MaxPixels: 100_000})
	if failure, ok := errors.AsType[*pipeline.Failure](err); ok {
		fmt.Println(failure.Code)
	}
	// Output:
	// image/png 640 × 480 <nil>
	// too_many_pixels
}
