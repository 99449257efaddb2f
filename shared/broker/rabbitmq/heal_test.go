package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// unresponsiveAfter is short enough for a test, and long enough for a busy machine.
const unresponsiveAfter = 4 * time.Second

// removeLeader permanently removes the leader of a queue, like the death of a broker
// just after it declared the queue. Started without its state, the replica waits for a
// leader and never calls an election.
func removeLeader(t *testing.T, queue string) {
	t.Helper()
	rabbitmqctl(t, "eval", fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
		ok = ra:force_delete_server(quorum_queues, amqqueue:get_pid(Q)), rabbit_quorum_queue:recover(<<"%[1]s">>, [Q]).`, vhost(t), queue))
}

func vhost(t *testing.T) string {
	t.Helper()
	uri, err := amqp.ParseURI(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	return uri.Vhost
}

// openHealing starts a Broker with a hook, and returns the values of fresh in its
// calls.
func openHealing(t *testing.T, q string) (*rabbitmq.Broker, <-chan bool, *telemetry.Registry) {
	t.Helper()
	registry := telemetry.NewRegistry()
	b := openWith(t, rabbitmq.Config{
		URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q},
		PublishTimeout: time.Second, UnresponsiveAfter: unresponsiveAfter, Metrics: registry,
	})
	hooked := make(chan bool, 64)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	if !brokertest.Receive(t, hooked, "the hook") {
		t.Error("a new broker is not fresh")
	}
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	return b, hooked, registry
}

// TestQueueWithoutLeader verifies that a queue without a leader is declared again and
// the hook runs, so that messages pass again, even without a consumer of the queue.
func TestQueueWithoutLeader(t *testing.T) {
	t.Parallel()
	needTool(t)
	for name, of := range map[string]func(string) string{
		"work":       func(q string) string { return q },
		"retry":      func(q string) string { return broker.RetryQueue(q, time.Second) },
		"quarantine": broker.QuarantineQueue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := brokertest.Name()
			b, hooked, registry := openHealing(t, q)
			queue := of(q)
			removeLeader(t, queue)
			start := time.Now()
			if err := b.Publish(t.Context(), queue, brokertest.Text("lost")); !errors.Is(err, broker.ErrUnavailable) {
				t.Fatalf("Publish = %v, want broker.ErrUnavailable: the queue still has a leader", err)
			}
			for fresh := false; !fresh; {
				fresh = brokertest.Receive(t, hooked, "the hook after the queue was declared again")
			}
			if took := time.Since(start); took < unresponsiveAfter {
				t.Errorf("the queue was declared again after %s, want at least %s", took, unresponsiveAfter)
			}
			brokertest.Publish(t, b, queue, brokertest.Text("after"))
			got := make(chan broker.Delivery, 4)
			brokertest.Start(t, b, queue, 1, brokertest.Into(got))
			d := brokertest.Receive(t, got, "a delivery")
			brokertest.Ack(t, d)
			if string(d.Body) != "after" {
				t.Errorf("got %q, want \"after\"", d.Body)
			}
			want := fmt.Sprintf("imagebatch_queues_made_anew_total{queue=%q} 1", queue)
			if !hasMetric(t, registry, want) {
				t.Errorf("the metrics lack %s", want)
			}
		})
	}
}

// TestQueueWithoutLeaderIsLeft verifies that a Broker that may not declare leaves a
// queue without a leader to an operator, reports what to do, and runs the hook
// afterwards.
func TestQueueWithoutLeaderIsLeft(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	declaring := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, declaring, broker.DeadQueue(q), brokertest.Text("x"))
	if err := declaring.Close(); err != nil {
		t.Fatal(err)
	}
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Watch: true, WorkQueues: []string{q}, UnresponsiveAfter: unresponsiveAfter})
	hooked := make(chan bool, 64)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	brokertest.Receive(t, hooked, "the hook")
	removeLeader(t, q)
	want := fmt.Sprintf("queue %s: no response, and this service may not declare queues; an operator must run "+
		"rabbitmqctl delete_queue --vhost %s %[1]s, and declare it again", q, vhost(t))
	brokertest.Await(t, "Ready reports what an operator must do", func() bool {
		err := b.Ready()
		return err != nil && err.Error() == want
	})
	rabbitmqctl(t, "delete_queue", "--vhost", vhost(t), q)
	brokertest.Await(t, "Ready reports the missing queue", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "may not declare: "+q)
	})
	again := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, again, q, brokertest.Text("after"))
	if !brokertest.Receive(t, hooked, "the hook after the queue was declared") {
		t.Error("the hook ran with fresh false after the loss of a queue")
	}
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
}

// TestConsumerOfQueueWithoutLeader verifies that the consumer of a queue that lost its
// leader, which gets no notification, consumes from the new queue.
func TestConsumerOfQueueWithoutLeader(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, _ := openHealing(t, q)
	worker := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, WorkQueues: []string{q}})
	got := make(chan string, 8)
	brokertest.Start(t, worker, q, 1, func(_ context.Context, d broker.Delivery) error {
		err := d.Ack()
		got <- string(d.Body)
		return err
	})
	brokertest.Receive(t, got, "the message published before")
	removeLeader(t, q)
	for fresh := false; !fresh; {
		fresh = brokertest.Receive(t, hooked, "the hook after the queue was declared again")
	}
	brokertest.Publish(t, b, q, brokertest.Text("after"))
	if body := brokertest.Receive(t, got, "a message on the new queue"); body != "after" {
		t.Errorf("got %q, want \"after\"", body)
	}
}

// TestDeadQueueWithoutLeader verifies that a dead-letter queue is left to an operator,
// because its messages are never sent again.
func TestDeadQueueWithoutLeader(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, _ := openHealing(t, q)
	removeLeader(t, broker.DeadQueue(q))
	removeLeader(t, q)
	for fresh := false; !fresh; {
		fresh = brokertest.Receive(t, hooked, "the hook after the work queue was declared again")
	}
	if err := b.Publish(t.Context(), broker.DeadQueue(q), brokertest.Text("x")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Publish = %v, want broker.ErrUnavailable: the dead-letter queue was declared again", err)
	}
}

// TestSlowQueueIsKept verifies that a queue that is unresponsive for less than the time
// limit keeps its messages.
func TestSlowQueueIsKept(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, registry := openHealing(t, q)
	replica := func(do string) {
		rabbitmqctl(t, "eval", fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
			{Name, _} = amqqueue:get_pid(Q), sys:%s(whereis(Name)).`, vhost(t), q, do))
	}
	replica("suspend")
	brokertest.Await(t, "the queue is found unresponsive", func() bool { return hasMetric(t, registry, "imagebatch_silent_queues 1") })
	replica("resume")
	brokertest.Await(t, "the queue responds again", func() bool { return hasMetric(t, registry, "imagebatch_silent_queues 0") })
	brokertest.ExpectNone(t, hooked, "the hook ran for a slow queue")
	got := make(chan broker.Delivery, 4)
	brokertest.Start(t, b, q, 1, brokertest.Into(got))
	d := brokertest.Receive(t, got, "the message published before")
	brokertest.Ack(t, d)
	if string(d.Body) != "before" {
		t.Errorf("got %q, want \"before\"", d.Body)
	}
}

// hasMetric reports whether the metrics have the given line.
func hasMetric(t *testing.T, registry *telemetry.Registry, line string) bool {
	t.Helper()
	page := httptest.NewRecorder()
	registry.Handler().ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return strings.Contains(page.Body.String(), line)
}
