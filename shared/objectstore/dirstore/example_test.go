package dirstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
)

// The key of an object is its path in the folder.
func Example() {
	dir, err := os.MkdirTemp("", "objects") //nolint:usetesting // An example has no *testing.T.
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := dirstore.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	ctx := context.Background()
	fmt.Println(store.Put(ctx, "job/photo.jpg", objectstore.Content{Data: []byte("bytes"), Type: "image/jpeg"}))
	data, err := objectstore.ReadAll(ctx, store, "job/photo.jpg", 1<<20)
	fmt.Printf("%s %v\n", data, err)
	_, err = store.Get(ctx, "job/absent.jpg")
	fmt.Println(errors.Is(err, objectstore.ErrNotExist))
	// Output:
	// <nil>
	// bytes <nil>
	// true
}
