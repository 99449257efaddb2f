package failpoint_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/failpoint"
)

// A build with the tag failpoints dies here if FAILPOINT is "result stored" and the key
// ends with FAILPOINT_DETAIL. This build continues.
func Example() {
	failpoint.Reach("result stored", "c9dd948a8e8bd0e8c0027cdb35d9e496/photo.jpg")
	fmt.Println("the result is published")
	// Output: the result is published
}
