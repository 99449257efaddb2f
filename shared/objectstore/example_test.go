package objectstore_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// A store checks keys before it uses them. The example of dirstore shows how to use a
// store.
func Example() {
	fmt.Println(objectstore.CheckKey("c9dd948a/my photo.jpg"))
	fmt.Println(objectstore.CheckKey("../photo.jpg") != nil)
	// Output:
	// <nil>
	// true
}
