package imagetest_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// JPEG returns a harmless file; All returns the bombs, each with the error that its
// image must end with.
func Example() {
	h, err := imagefile.Read(imagetest.JPEG(640, 480), imagefile.Limits{})
	fmt.Println(h.Format, h.Width, h.Height, err)
	// Output: jpeg 640 480 <nil>
}
