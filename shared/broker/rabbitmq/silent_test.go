package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
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

// silence suspends the only replica of a queue, or resumes it. A suspended queue behaves
// like one without a leader, on every version of RabbitMQ.
func silence(t *testing.T, queue, verb string) {
	t.Helper()
	silenceIn(t, vhost(t), queue, verb)
}

func silenceIn(t *testing.T, vhost, queue, verb string) {
	t.Helper()
	rabbitmqctl(t, "eval", fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
		{Name, _} = amqqueue:get_pid(Q), sys:%s(whereis(Name)).`, vhost, queue, verb))
}

func vhost(t *testing.T) string {
	t.Helper()
	uri, err := amqp.ParseURI(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	return uri.Vhost
}

// openWatching starts a Broker with a hook, and returns the values of fresh in its
// calls.
func openWatching(t *testing.T, q string) (*rabbitmq.Broker, <-chan bool, *telemetry.Registry) {
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
	return b, hooked, registry
}

// declareAll declares the queues of a work queue without writing a marker, like a
// gateway that dies before its hook has run.
func declareAll(t *testing.T, q string) {
	t.Helper()
	declaring, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := declaring.Depth(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if err := declaring.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSilentQueueOfFreshBroker verifies that a queue that lost its leader before the
// marker was written is declared again before the hook runs.
func TestSilentQueueOfFreshBroker(t *testing.T) {
	t.Parallel()
	needTool(t)
	for name, of := range map[string]func(string) string{
		"work":       func(q string) string { return q },
		"retry":      func(q string) string { return broker.RetryQueue(q, time.Second) },
		"quarantine": broker.QuarantineQueue,
		"dead":       broker.DeadQueue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := brokertest.Name()
			queue := of(q)
			declareAll(t, q)
			// The gateway died before it declared the exchange, so there is no letter.
			if err := admin(t).ExchangeDelete(broker.DeadQueue(q), false, false); err != nil {
				t.Fatal(err)
			}
			silence(t, queue, "suspend")
			b, hooked, registry := openWatching(t, q)
			if !brokertest.Receive(t, hooked, "the hook") {
				t.Error("the hook ran with fresh false although the marker was missing")
			}
			brokertest.Publish(t, b, queue, brokertest.Text("after"))
			got := make(chan broker.Delivery, 4)
			brokertest.Start(t, b, queue, 1, brokertest.Into(got))
			d := brokertest.Receive(t, got, "a delivery")
			brokertest.Ack(t, d)
			if string(d.Body) != "after" {
				t.Errorf("got %q, want \"after\"", d.Body)
			}
			if want := fmt.Sprintf("imagebatch_queues_made_anew_total{queue=%q} 1", queue); !hasMetric(t, registry, want) {
				t.Errorf("the metrics lack %s", want)
			}
		})
	}
}

// TestDeadQueueOfFreshBroker verifies that a dead-letter queue keeps its letters, which
// are never sent again, and delays nothing.
func TestDeadQueueOfFreshBroker(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	declareAll(t, q)
	dead := broker.DeadQueue(q)
	if err := admin(t).PublishWithContext(t.Context(), "", dead, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("letter")}); err != nil {
		t.Fatal(err)
	}
	brokertest.Await(t, "the letter is on its queue", func() bool {
		state, err := admin(t).QueueDeclarePassive(dead, true, false, false, false, nil)
		return err == nil && state.Messages == 1
	})
	silence(t, dead, "suspend")
	b, hooked, registry := openWatching(t, q)
	brokertest.Receive(t, hooked, "the hook")
	silence(t, dead, "resume")
	brokertest.Await(t, "the queue responds", func() bool { return hasMetric(t, registry, "imagebatch_silent_queues 0") })
	var bodies []string
	err := b.Browse(t.Context(), dead, broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
		bodies = append(bodies, string(l.Body))
		return nil
	})
	if err != nil || len(bodies) != 1 {
		t.Errorf("Browse found %q (%v), want the letter", bodies, err)
	}
}

// TestSilentQueueIsKept verifies that a queue that stops responding after the marker was
// written is reported and keeps its messages, however long it is silent.
func TestSilentQueueIsKept(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, registry := openWatching(t, q)
	brokertest.Receive(t, hooked, "the hook")
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	silence(t, q, "suspend")
	brokertest.Await(t, "the queue is found silent", func() bool { return hasMetric(t, registry, "imagebatch_silent_queues 1") })
	want := fmt.Sprintf("queue %s: no response for %s although the broker responds; an operator must look at "+
		"rabbitmq-queues quorum_status --vhost %s %[1]s", q, unresponsiveAfter, vhost(t))
	brokertest.Await(t, "Ready reports what an operator must do", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), want)
	})
	// A later process does not touch the queue either.
	_, later, _ := openWatching(t, q)
	if brokertest.Receive(t, later, "the hook of a later process") {
		t.Error("the hook ran with fresh true although there was a marker")
	}
	silence(t, q, "resume")
	brokertest.Await(t, "the queue responds again", func() bool { return hasMetric(t, registry, "imagebatch_silent_queues 0") })
	brokertest.Await(t, "ready again", func() bool { return b.Ready() == nil })
	for len(hooked) > 0 {
		if <-hooked {
			t.Error("the hook ran with fresh true for a silent queue")
		}
	}
	got := make(chan broker.Delivery, 4)
	brokertest.Start(t, b, q, 1, brokertest.Into(got))
	d := brokertest.Receive(t, got, "the message published before")
	brokertest.Ack(t, d)
	if string(d.Body) != "before" {
		t.Errorf("got %q, want \"before\"", d.Body)
	}
}

// TestSilentQueueIsDeletedByOperator verifies that all goes on after an operator has
// deleted a silent queue: the queue is declared again, the hook runs, and a consumer in
// another process, which gets no notification, consumes from the new queue.
func TestSilentQueueIsDeletedByOperator(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b, hooked, _ := openWatching(t, q)
	brokertest.Receive(t, hooked, "the hook")
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	worker := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, WorkQueues: []string{q}})
	got := make(chan string, 8)
	brokertest.Start(t, worker, q, 1, func(_ context.Context, d broker.Delivery) error {
		err := d.Ack()
		got <- string(d.Body)
		return err
	})
	brokertest.Receive(t, got, "the message published before")
	silence(t, q, "suspend")
	if err := b.Publish(t.Context(), q, brokertest.Text("lost")); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatalf("Publish = %v, want broker.ErrUnavailable: the queue still responds", err)
	}
	rabbitmqctl(t, "delete_queue", "--vhost", vhost(t), q)
	for fresh := false; !fresh; {
		fresh = brokertest.Receive(t, hooked, "the hook after the queue was declared again")
	}
	brokertest.Publish(t, b, q, brokertest.Text("after"))
	if body := brokertest.Receive(t, got, "a message on the new queue"); body != "after" {
		t.Errorf("got %q, want \"after\"", body)
	}
}

// TestOrphanedMessage verifies that a consumer gets a message that the broker counts as held by its channel, although it was
// never delivered. That is what is left of a delivery that is lost with the leader of its queue.
func TestOrphanedMessage(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}, RenewAfter: time.Second})
	got := make(chan broker.Delivery, 4)
	brokertest.Start(t, b, q, 1, brokertest.Into(got))
	for _, body := range []string{"held", "orphan"} {
		brokertest.Publish(t, b, q, brokertest.Text(body))
	}
	held := brokertest.Receive(t, got, "the first message")
	// The queue gives the second message to the channel, which does not know of it.
	rabbitmqctl(t, "eval", fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>)),
		[Consumer] = rabbit_amqqueue:consumers(Q),
		{ok, {dequeue, _, _}, _} = ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_checkout({<<"ghost">>, element(1, Consumer)}, {dequeue, unsettled}, #{})).`,
		vhost(t), q))
	brokertest.Ack(t, held)
	d := brokertest.Receive(t, got, "the second message")
	brokertest.Ack(t, d)
	if string(d.Body) != "orphan" || !d.Redelivered {
		t.Errorf("got %q, redelivered %t, want \"orphan\" and true", d.Body, d.Redelivered)
	}
}

// TestRenewedChannels verifies that a consumer gets each message once while it renews its channel many times, between
// messages and under load.
func TestRenewedChannels(t *testing.T) {
	t.Parallel()
	const messages, inFlight = 600, 8
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}, RenewAfter: time.Millisecond})
	got := make(chan broker.Delivery, messages)
	brokertest.Start(t, b, q, inFlight, func(_ context.Context, d broker.Delivery) error {
		time.Sleep(time.Duration(len(d.Body)%7) * time.Millisecond) // so that handlers are running at a renewal
		err := d.Ack()
		got <- d
		return err
	})
	counts := map[string]int{}
	for i := range messages {
		brokertest.Publish(t, b, q, brokertest.Text(fmt.Sprintf("%0*d", 1+i%20, i)))
	}
	for range messages {
		counts[string(brokertest.Receive(t, got, "a message").Body)]++
	}
	if len(counts) != messages {
		t.Errorf("%d messages were delivered, want %d, each once", len(counts), messages)
	}
	if waiting, err := b.Depth(t.Context(), q); waiting > 0 || err != nil {
		t.Errorf("%d messages wait (%v), want 0", waiting, err)
	}
}

// hasMetric reports whether the metrics have the given line.
func hasMetric(t *testing.T, registry *telemetry.Registry, line string) bool {
	t.Helper()
	page := httptest.NewRecorder()
	registry.Handler().ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return strings.Contains(page.Body.String(), line)
}

// TestNodeCutOff verifies that a Broker leaves a node through which a queue does not respond, if it does
// through another node. The nodes are two vhosts with the same queues.
func TestNodeCutOff(t *testing.T) {
	t.Parallel()
	needTool(t)
	u, err := url.Parse(serverURL(t))
	if err != nil {
		t.Fatal(err)
	}
	second := vhost(t) + "-second"
	rabbitmqctl(t, "add_vhost", second)
	t.Cleanup(func() { rabbitmqctl(t, "delete_vhost", second) })
	rabbitmqctl(t, "set_permissions", "--vhost", second, u.User.Username(), ".*", ".*", ".*")
	urls := map[string]string{vhost(t): serverURL(t), second: u.ResolveReference(&url.URL{Path: "/" + second}).String()}
	for _, declares := range []bool{true, false} {
		t.Run(fmt.Sprintf("declares %t", declares), func(t *testing.T) {
			t.Parallel()
			q := brokertest.Name()
			each := map[string]broker.Broker{}
			for name, address := range urls {
				each[name] = openWith(t, rabbitmq.Config{URLs: []string{address}, Declare: true, WorkQueues: []string{q}})
				brokertest.Publish(t, each[name], q, brokertest.Text(name))
			}
			b := openWith(t, rabbitmq.Config{
				URLs: slices.Collect(maps.Values(urls)), Declare: declares, WorkQueues: []string{q}, UnresponsiveAfter: unresponsiveAfter,
			})
			got := make(chan broker.Delivery, 64)
			brokertest.Start(t, b, q, 1, brokertest.Into(got))
			d := brokertest.Receive(t, got, "a delivery from the first node")
			brokertest.Ack(t, d)
			silenceIn(t, string(d.Body), q, "suspend")
			defer silenceIn(t, string(d.Body), q, "resume")
			if d := brokertest.Receive(t, got, "a delivery from the other node"); urls[string(d.Body)] == "" {
				t.Errorf("got %q", d.Body)
			} else {
				brokertest.Ack(t, d)
			}
			brokertest.Await(t, "ready on the other node", func() bool { return b.Ready() == nil })
		})
	}
}
