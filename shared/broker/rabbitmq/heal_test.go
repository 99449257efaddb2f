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

// silence is short enough for a test, and long enough for a busy machine.
const silence = 4 * time.Second

// behead takes the leader from a queue for good, as a broker does that is killed
// just after it has made one: started without what its replica knew, the replica
// waits for a leader and never calls an election.
func behead(t *testing.T, queue string) {
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

// openHealing starts a Broker with a hook, and gives the calls of it.
func openHealing(t *testing.T, q string) (*rabbitmq.Broker, <-chan bool, *telemetry.Registry) {
	t.Helper()
	registry := telemetry.NewRegistry()
	b := openWith(t, rabbitmq.Config{
		URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q},
		PublishTimeout: time.Second, Silence: silence, Metrics: registry,
	})
	hooked := make(chan bool, 64)
	b.OnSession("marker-"+q, func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	if !brokertest.Receive(t, hooked, "the hook") {
		t.Error("a new broker is not fresh")
	}
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	return b, hooked, registry
}

// A queue without a leader takes and gives nothing for ever. It is made anew, the
// hook is told, and messages pass again, though nobody here had used it.
func TestQueueWithoutLeader(t *testing.T) {
	t.Parallel()
	needTool(t)
	for name, of := range map[string]func(string) string{
		"work":    func(q string) string { return q },
		"retry":   func(q string) string { return broker.RetryQueue(q, time.Second) },
		"suspect": broker.QuarantineQueue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := brokertest.Name()
			b, hooked, registry := openHealing(t, q)
			queue := of(q)
			behead(t, queue)
			began := time.Now()
			if err := b.Publish(t.Context(), queue, brokertest.Text("lost")); !errors.Is(err, broker.ErrUnavailable) {
				t.Fatalf("Publish = %v, the queue has a leader", err)
			}
			for anew := false; !anew; {
				anew = brokertest.Receive(t, hooked, "the hook after the queue was made anew")
			}
			if took := time.Since(began); took < silence {
				t.Errorf("the queue was made anew after %s, it may be silent for %s", took, silence)
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
			if !tells(t, registry, want) {
				t.Errorf("the metrics do not tell %s", want)
			}
		})
	}
}

// Where nothing may be declared, a queue without a leader is left to an operator, who is
// told what to do; the hook hears of it when it is done.
func TestQueueWithoutLeaderIsLeft(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	declaring := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, declaring, broker.DeadQueue(q), brokertest.Text("x"))
	if err := declaring.Close(); err != nil {
		t.Fatal(err)
	}
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Watch: true, WorkQueues: []string{q}, Silence: silence})
	hooked := make(chan bool, 64)
	b.OnSession("marker-"+q, func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	brokertest.Receive(t, hooked, "the hook")
	behead(t, q)
	want := fmt.Sprintf("queue %s: it answers nothing, and this service may not declare queues; to be done by an operator: "+
		"rabbitmqctl delete_queue --vhost %s %[1]s, and declare it as before", q, vhost(t))
	brokertest.Await(t, "an operator is told", func() bool {
		err := b.Ready()
		return err != nil && err.Error() == want
	})
	rabbitmqctl(t, "delete_queue", "--vhost", vhost(t), q)
	brokertest.Await(t, "the queue is missed", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "may not declare: "+q)
	})
	again := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, again, q, brokertest.Text("after"))
	if !brokertest.Receive(t, hooked, "the hook after the queue was declared") {
		t.Error("the hook was not told that a queue was lost")
	}
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
}

// Who consumed from a queue that lost its leader is told of nothing, and consumes
// from the new one.
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
	brokertest.Receive(t, got, "the message of before")
	behead(t, q)
	for anew := false; !anew; {
		anew = brokertest.Receive(t, hooked, "the hook after the queue was made anew")
	}
	brokertest.Publish(t, b, q, brokertest.Text("after"))
	if body := brokertest.Receive(t, got, "a message on the new queue"); body != "after" {
		t.Errorf("got %q, want \"after\"", body)
	}
}

// What a dead queue holds nobody sends again: it is an operator's.
func TestDeadQueueWithoutLeader(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, _ := openHealing(t, q)
	behead(t, broker.DeadQueue(q))
	behead(t, q)
	for anew := false; !anew; {
		anew = brokertest.Receive(t, hooked, "the hook after the work queue was made anew")
	}
	if err := b.Publish(t.Context(), broker.DeadQueue(q), brokertest.Text("x")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Publish = %v: the dead queue was made anew, want broker.ErrUnavailable", err)
	}
}

// A queue that stands still for less than the bound keeps what it holds.
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
	brokertest.Await(t, "the queue is found silent", func() bool { return tells(t, registry, "imagebatch_silent_queues 1") })
	replica("resume")
	brokertest.Await(t, "the queue answers again", func() bool { return tells(t, registry, "imagebatch_silent_queues 0") })
	brokertest.ExpectNone(t, hooked, "the hook ran for a slow queue")
	got := make(chan broker.Delivery, 4)
	brokertest.Start(t, b, q, 1, brokertest.Into(got))
	d := brokertest.Receive(t, got, "the message of before")
	brokertest.Ack(t, d)
	if string(d.Body) != "before" {
		t.Errorf("got %q, want \"before\"", d.Body)
	}
}

// tells says whether the metrics have that line.
func tells(t *testing.T, registry *telemetry.Registry, line string) bool {
	t.Helper()
	page := httptest.NewRecorder()
	registry.Handler().ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return strings.Contains(page.Body.String(), line)
}
