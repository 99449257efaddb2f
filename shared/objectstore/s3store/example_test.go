package s3store_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
)

// Open sends nothing, so it succeeds without a server. A call, or Ready, then
// reports objectstore.ErrUnavailable until the server is there.
func Example() {
	store, err := s3store.Open(s3store.Config{
		Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "original", Prefix: "team/",
		Role: s3store.Role{Kind: "the role of the instance"}, // for keys that are renewed
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	store.Close()

	_, err = s3store.Open(s3store.Config{Endpoint: "s3.example.org", Bucket: "original"})
	fmt.Println(err)
	// Output: the S3 endpoint "s3.example.org" is not an http or https URL
}
