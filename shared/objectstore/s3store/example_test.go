package s3store_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
)

// Open sends no request, so it succeeds without a server. Calls and Ready return
// objectstore.ErrUnavailable until the server is available.
func Example() {
	store, err := s3store.Open(s3store.Config{
		Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "original", Prefix: "team/",
		Role: s3store.Role{Kind: "the role of the instance"}, // for temporary keys
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	store.Close()

	_, err = s3store.Open(s3store.Config{Endpoint: "s3.example.org", Bucket: "original"})
	fmt.Println(err)
	// Output: S3 endpoint "s3.example.org" is not an http or https URL
}
