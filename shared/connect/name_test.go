package connect

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/service"
)

// TestConnectionNames verifies that RabbitMQ lists the connections of a service by its
// name and their purpose.
func TestConnectionNames(t *testing.T) {
	url, tool := os.Getenv("TEST_RABBITMQ_URL"), os.Getenv("TEST_RABBITMQCTL")
	if url == "" || tool == "" {
		t.Skip("TEST_RABBITMQ_URL and TEST_RABBITMQCTL are not set")
	}
	c, err := service.Load([]string{"RABBITMQ_URL=" + url}, func(c *BrokerConfig) error { return c.Validate() })
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Open("a service", false, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	deadline := time.Now().Add(30 * time.Second)
	for _, want := range []string{`"a service publishing"`, `"a service consuming"`} {
		for list := ""; !strings.Contains(list, want); {
			if time.Now().After(deadline) {
				t.Fatalf("RabbitMQ lists %s, want %s", list, want)
			}
			out, err := exec.CommandContext(t.Context(), tool, "list_connections", "client_properties").CombinedOutput() //nolint:gosec // The user sets the tool.
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			list = string(out)
		}
	}
}
