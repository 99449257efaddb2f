package broker_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// A work queue has queues for retries, for quarantine and for dead letters. The example
// of membroker shows how to use a broker.
func Example() {
	for _, q := range broker.Topology("image_upload") {
		fmt.Println(q.Name)
	}
	// Output:
	// image_upload
	// image_upload.retry.1s
	// image_upload.retry.5s
	// image_upload.retry.15s
	// image_upload.suspect
	// image_upload.dead
	// dead_results
	// image_processed.foreign
}
