package rabbitmq_test

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// Open does not wait for the server; Ready reports when it is available. The example
// has no output, because it needs a RabbitMQ. For Publish and Consume, see the example
// of membroker.
func Example() {
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs: []string{"amqp://guest:guest@127.0.0.1:5672/"}, Declare: true, WorkQueues: []string{"image_upload"},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	for b.Ready() != nil {
		time.Sleep(100 * time.Millisecond)
	}
}
