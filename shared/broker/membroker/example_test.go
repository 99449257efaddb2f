package membroker_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
)

// A consumer acks a message when its work is done.
func Example() {
	b := membroker.New("image_upload")
	ctx, stop := context.WithCancel(context.Background())
	fmt.Println(b.Publish(ctx, "image_upload", broker.Message{Body: []byte("an upload")}))
	fmt.Println(errors.Is(b.Publish(ctx, "unknown", broker.Message{}), broker.ErrNoRoute))

	err := b.Consume(ctx, "image_upload", 1, func(_ context.Context, d broker.Delivery) error {
		defer stop()
		fmt.Printf("%s\n", d.Body)
		return d.Ack()
	})
	fmt.Println(err, b.Len("image_upload"), b.Close())
	// Output:
	// <nil>
	// true
	// an upload
	// <nil> 0 <nil>
}
