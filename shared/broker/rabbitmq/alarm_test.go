package rabbitmq_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// TestMemoryAlarm raises a real memory alarm: publishers fail within their time limit
// and then immediately, acks still get through, Ready reports the reason, and all
// recovers after the alarm. The alarm blocks every publisher on the server.
func TestMemoryAlarm(t *testing.T) {
	const timeout = time.Second
	needTool(t)
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}, PublishTimeout: timeout, MaxInFlight: 4})
	for range 2 {
		brokertest.Publish(t, b, q, brokertest.Text("before"))
	}
	got := make(chan broker.Delivery, 16)
	c := brokertest.Start(t, b, q, 1, brokertest.Into(got))
	held := brokertest.Receive(t, got, "a delivery")

	endAlarm := func() { rabbitmqctl(t, "set_vm_memory_high_watermark", "0.4") }
	t.Cleanup(endAlarm)
	rabbitmqctl(t, "set_vm_memory_high_watermark", "absolute", "1MiB")
	publish := func() (time.Duration, error) {
		start := time.Now()
		err := b.Publish(context.WithoutCancel(t.Context()), q, brokertest.Text("during"))
		return time.Since(start), err
	}
	// The broker reports that it blocks only after a publish. More publishes than
	// allowed in flight must not leak slots.
	var publishing sync.WaitGroup
	for range 12 {
		publishing.Go(func() {
			if took, err := publish(); !errors.Is(err, broker.ErrUnavailable) || took > timeout+time.Second {
				t.Errorf("Publish = %v after %s, want broker.ErrUnavailable and at most %v", err, took, timeout+time.Second)
			}
		})
	}
	publishing.Wait()
	if took, err := publish(); !errors.Is(err, broker.ErrUnavailable) || took > timeout/2 {
		t.Errorf("Publish on a blocked connection = %v after %s, want an error immediately", err, took)
	}
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "blocked publishers") || !strings.Contains(err.Error(), "memory") {
		t.Errorf("Ready = %v, want the alarm", err)
	}
	if err := b.Broadcast(t.Context(), brokertest.Topic(q), nil); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Broadcast = %v, want broker.ErrUnavailable", err)
	}
	// Consuming continues: the ack allows the next delivery.
	brokertest.Ack(t, held)
	brokertest.Ack(t, brokertest.Receive(t, got, "a delivery during the alarm"))
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}

	endAlarm()
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	for range 20 {
		brokertest.Publish(t, b, q, brokertest.Text("after"))
	}
}
