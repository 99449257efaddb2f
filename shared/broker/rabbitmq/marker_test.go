package rabbitmq_test

import (
	"context"
	"errors"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// TestDeathInTheHook verifies that the broker stays fresh until a hook has succeeded: a
// process that dies in its hook leaves the work to the next one.
func TestDeathInTheHook(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	config := rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}
	t.Cleanup(func() { forget(t, q) })
	for i, failure := range []error{errors.New("killed"), nil} {
		b, err := rabbitmq.Open(config, logger(t))
		if err != nil {
			t.Fatal(err)
		}
		hooked := make(chan bool, 100)
		b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
			hooked <- fresh
			return failure
		})
		if !brokertest.Receive(t, hooked, "the hook") {
			t.Errorf("process %d: fresh is false", i+1)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}
