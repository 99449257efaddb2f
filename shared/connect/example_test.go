package connect_test

import (
	"fmt"

	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// The environment names the servers. Run reads it, opens them and runs a service.
func Example() {
	c, err := service.Load([]string{"RABBITMQ_URL=amqps://user:secret@broker.example.org/", "S3_REGION=eu-central-1"},
		func(c *connect.Config) error { return c.Validate() })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.RabbitMQURL, c.S3Region, c.S3BucketOriginal)

	_, err = service.Load([]string{"S3_ACCESS_KEY=half"}, func(c *connect.Config) error { return c.Validate() })
	fmt.Println(err)
	// Output:
	// [amqps://user:xxxxx@broker.example.org/] eu-central-1 original
	// configuration:
	// S3_ACCESS_KEY and S3_SECRET_KEY: set both, or neither for a role
}
