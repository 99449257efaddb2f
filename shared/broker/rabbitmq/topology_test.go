package rabbitmq_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

type listedQueue struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Durable   bool    `json:"durable"`
	Messages  int     `json:"messages"`
	Arguments [][]any `json:"arguments"`
}

// listQueues returns the queues with the prefix, as rabbitmqctl lists them.
func listQueues(t *testing.T, prefix string) map[string]listedQueue {
	t.Helper()
	vhost := "/"
	if uri, err := amqp.ParseURI(serverURL(t)); err == nil {
		vhost = uri.Vhost
	}
	out := rabbitmqctl(t, "--silent", "--formatter", "json", "list_queues", "--vhost", vhost, "name", "type", "durable", "messages", "arguments")
	var queues []listedQueue
	if err := json.Unmarshal([]byte(out[strings.Index(out, "["):]), &queues); err != nil {
		t.Fatalf("read %s: %v", out, err)
	}
	listed := map[string]listedQueue{}
	for _, q := range queues {
		if strings.HasPrefix(q.Name, prefix) || q.Name == broker.DeadResults {
			listed[q.Name] = q
		}
	}
	return listed
}

// TestQueueArguments verifies that the queues on the server are exactly as frozen:
// durable quorum queues with an explicit delivery limit, whose dead letters are
// transferred at least once.
func TestQueueArguments(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b := open(t, q)
	brokertest.Publish(t, b, q, brokertest.Text("x"))

	const none = "2147483647"
	deadLettering := map[string]string{
		"x-dead-letter-exchange": q + ".dead", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
	}
	retry := map[string]string{
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": q, "x-dead-letter-strategy": "at-least-once",
		"x-overflow": "reject-publish", "x-delivery-limit": none,
	}
	want := map[string]map[string]string{
		q:                  with(deadLettering, "x-delivery-limit", "100"),
		q + ".suspect":     with(deadLettering, "x-delivery-limit", "3"),
		q + ".retry.1s":    with(retry, "x-message-ttl", "1000"),
		q + ".retry.5s":    with(retry, "x-message-ttl", "5000"),
		q + ".retry.15s":   with(retry, "x-message-ttl", "15000"),
		q + ".dead":        {"x-delivery-limit": none, "x-max-length": "100000", "x-overflow": "drop-head"},
		broker.DeadResults: {"x-delivery-limit": none},
	}
	listed := listQueues(t, q)
	for name, arguments := range want {
		arguments = with(arguments, "x-queue-type", "quorum")
		got := map[string]string{}
		for _, a := range listed[name].Arguments {
			got[fmt.Sprint(a[0])] = written(a[2])
		}
		if !maps.Equal(got, arguments) {
			t.Errorf("queue %s\ngot  %v\nwant %v", name, got, arguments)
		}
		if listed[name].Type != "quorum" && listed[name].Type != "rabbit_quorum_queue" || !listed[name].Durable {
			t.Errorf("queue %s is of type %s, durable %v", name, listed[name].Type, listed[name].Durable)
		}
	}
	if len(listed) != len(want) {
		t.Errorf("%d queues were declared, want %d", len(listed), len(want))
	}
}

// written formats a value of the list, with numbers without an exponent.
func written(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}

// TestDelayedMessageOutlivesItsTarget verifies that a delayed message waits for its
// work queue if that is missing. At-most-once transfer would drop it after its delay.
func TestDelayedMessageOutlivesItsTarget(t *testing.T) {
	t.Parallel()
	needTool(t)
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Publish(t, b, q, brokertest.Text("x"))
	if err := b.Close(); err != nil { // otherwise it would declare the queue again
		t.Fatal(err)
	}
	ch := admin(t)
	if _, err := ch.QueueDelete(q, false, false, false); err != nil {
		t.Fatal(err)
	}
	retry := broker.RetryQueue(q, time.Second)
	if err := ch.PublishWithContext(t.Context(), "", retry, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	brokertest.Await(t, "the message is no longer ready, because its delay is over", func() bool {
		state, err := ch.QueueDeclarePassive(retry, true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return state.Messages == 0 && listQueues(t, q)[retry].Messages == 1
	})
}

// TestOtherArguments verifies that a queue with other arguments is reported, and that
// the declaration is retried.
func TestOtherArguments(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	ch := admin(t)
	quarantine := broker.QuarantineQueue(q)
	if _, err := ch.QueueDeclare(quarantine, true, false, false, false, amqp.Table{"x-queue-type": "quorum", "x-max-length": int64(7)}); err != nil {
		t.Fatal(err)
	}
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	hooked := make(chan bool, 1)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	brokertest.Await(t, "Ready names the queue and an argument", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), quarantine) && strings.Contains(err.Error(), "inequivalent arg 'x-")
	})
	brokertest.ExpectNone(t, hooked, "the hook ran without all queues")
	if _, err := ch.QueueDelete(quarantine, false, false, false); err != nil {
		t.Fatal(err)
	}
	if !brokertest.Receive(t, hooked, "the hook") {
		t.Error("the hook ran with fresh false although a queue is new")
	}
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
}

// TestWithoutDeclaring verifies that a process that may not declare waits for one that
// does.
func TestWithoutDeclaring(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	waiting := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Watch: true, WorkQueues: []string{q}})
	hooked := make(chan bool, 4)
	waiting.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	got := make(chan broker.Delivery, 1)
	brokertest.Start(t, waiting, q, 1, brokertest.Into(got))
	brokertest.Await(t, "Ready names the missing queue", func() bool {
		err := waiting.Ready()
		return err != nil && strings.HasSuffix(err.Error(), "may not declare: "+q)
	})
	brokertest.ExpectNone(t, hooked, "the hook ran without all queues")

	declaring := open(t, q)
	brokertest.Publish(t, declaring, q, brokertest.Text("x"))
	if !brokertest.Receive(t, hooked, "the hook") {
		t.Error("the hook ran with fresh false although the queues were missing")
	}
	brokertest.Ack(t, brokertest.Receive(t, got, "a delivery"))
	brokertest.Await(t, "ready", func() bool { return waiting.Ready() == nil })
	if _, exists := markers(t, q); exists {
		t.Error("a process that may not declare wrote the marker")
	}

	// The next process finds all queues.
	later := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Watch: true, WorkQueues: []string{q}})
	later.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	if brokertest.Receive(t, hooked, "the second hook") {
		t.Error("fresh is true although no queue was missing")
	}
}

// TestFirstStartIsQuiet verifies that a first start leaves one error in RabbitMQ's log, the
// missing marker, and that a service which declares no queues asks only about its own.
func TestFirstStartIsQuiet(t *testing.T) {
	t.Parallel()
	serverURL(t)
	dir := os.Getenv("TEST_SERVERS_DIR")
	if dir == "" {
		t.Skip("TEST_SERVERS_DIR is not set")
	}
	q := brokertest.Name()
	worker := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, WorkQueues: []string{q}})
	brokertest.Start(t, worker, q, 1, brokertest.Into(make(chan broker.Delivery, 1)))
	brokertest.Await(t, "Ready names the missing queue", func() bool {
		err := worker.Ready()
		return err != nil && strings.Contains(err.Error(), "queue "+q+" does not exist")
	})
	b, hooked := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}), make(chan bool, 8)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	brokertest.Receive(t, hooked, "the hook")
	brokertest.Await(t, "the worker is ready", func() bool { return worker.Ready() == nil })
	log, err := os.ReadFile(filepath.Join(dir, "log/rabbitmq.log"))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]int{}
	for _, m := range regexp.MustCompile(`no queue '([^']*`+q+`[^']*)'`).FindAllSubmatch(log, -1) {
		missing[string(m[1])]++
	}
	if missing["marker-"+q] != 1 || missing[q] == 0 || len(missing) != 2 {
		t.Errorf("RabbitMQ logged missing queues %v, want the marker once, and %s", missing, q)
	}
}

// markers reports whether the marker of the queue exists.
func markers(t *testing.T, q string) (messages int, exists bool) {
	t.Helper()
	state, err := admin(t).QueueDeclarePassive("marker-"+q, true, false, false, false, nil)
	return state.Messages, err == nil
}

// TestQueueDeletedUnderLoad verifies that a publish to a deleted queue does not count
// as published, that the queue is declared again, and that the hook runs before the
// marker is written again.
func TestQueueDeletedUnderLoad(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	type call struct{ fresh, marked bool }
	hooked := make(chan call, 8)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		_, marked := markers(t, q)
		hooked <- call{fresh, marked}
		return nil
	})
	if c := brokertest.Receive(t, hooked, "the hook"); c != (call{fresh: true}) {
		t.Errorf("first hook: %+v, want %+v", c, (call{fresh: true}))
	}
	got := make(chan string, 4096)
	brokertest.Start(t, b, q, 4, func(_ context.Context, d broker.Delivery) error {
		got <- string(d.Body)
		return d.Ack()
	})
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	brokertest.Receive(t, got, "the first message")
	brokertest.Await(t, "the marker is written", func() bool { _, exists := markers(t, q); return exists })

	if _, err := admin(t).QueueDelete(q, false, false, false); err != nil {
		t.Fatal(err)
	}
	if c := brokertest.Receive(t, hooked, "the hook after the loss"); c != (call{fresh: true}) {
		t.Errorf("hook after the loss: %+v, want fresh and no marker", c)
	}
	brokertest.Publish(t, b, q, brokertest.Text("after"))
	if body := brokertest.Receive(t, got, "a message on the new queue"); body != "after" {
		t.Errorf("got %q, want \"after\"", body)
	}
	brokertest.Await(t, "the marker is written again", func() bool { _, exists := markers(t, q); return exists })
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	brokertest.ExpectNone(t, hooked, "the hook ran again")
}

// TestPublishFindsMissingQueue verifies that a publish to a deleted queue without a
// consumer triggers its declaration.
func TestPublishFindsMissingQueue(t *testing.T) {
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	hooked := make(chan bool, 8)
	b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
		hooked <- fresh
		return nil
	})
	brokertest.Receive(t, hooked, "the hook")
	brokertest.Publish(t, b, q, brokertest.Text("before"))
	retry := broker.RetryQueue(q, 5*time.Second)
	if _, err := admin(t).QueueDelete(retry, false, false, false); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	brokertest.Publish(t, b, retry, brokertest.Text("after"))
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the queue was declared again after %s, want at most %v", took, 3*time.Second)
	}
	if !brokertest.Receive(t, hooked, "the hook after the loss") {
		t.Error("the hook ran with fresh false after the loss")
	}
}

// TestSecondSessionIsNotFresh verifies that later processes with the same broker find
// the marker.
func TestSecondSessionIsNotFresh(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	config := rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}
	for i, want := range []bool{true, false, false} {
		b, err := rabbitmq.Open(config, logger(t))
		if err != nil {
			t.Fatal(err)
		}
		hooked := make(chan bool, 1)
		b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
			hooked <- fresh
			return nil
		})
		if fresh := brokertest.Receive(t, hooked, "the hook"); fresh != want {
			t.Errorf("session %d: fresh %v, want %v", i+1, fresh, want)
		}
		brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	forget(t, q)
}

// TestAddedQueueIsNoLoss verifies that a release that adds a work queue declares it without taking
// the broker for fresh, which would publish all open images again, and that a broker that has
// lost one queue of several is still fresh.
func TestAddedQueueIsNoLoss(t *testing.T) {
	t.Parallel()
	q, added := brokertest.Name(), brokertest.Name()
	t.Cleanup(func() { forget(t, q, added) })
	session := func(config rabbitmq.Config, want bool) {
		t.Helper()
		config.URLs, config.Declare = []string{serverURL(t)}, true
		b, err := rabbitmq.Open(config, logger(t))
		if err != nil {
			t.Fatal(err)
		}
		hooked := make(chan bool, 1)
		b.OnSession("marker-"+q, "", func(_ context.Context, fresh bool) error {
			hooked <- fresh
			return nil
		})
		if fresh := brokertest.Receive(t, hooked, "the hook"); fresh != want {
			t.Errorf("work queues %v: fresh is %v, want %v", config.WorkQueues, fresh, want)
		}
		brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
		for _, queue := range config.WorkQueues {
			brokertest.Publish(t, b, broker.RetryQueue(queue, broker.RetryDelays[0]), brokertest.Text("x"))
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	old := rabbitmq.Config{WorkQueues: []string{q}}
	upgraded := rabbitmq.Config{WorkQueues: []string{q, added}, AddedQueues: []string{added}}
	session(old, true)
	session(upgraded, false)
	if _, err := admin(t).QueueDelete(broker.RetryQueue(added, broker.RetryDelays[0]), false, false, false); err != nil {
		t.Fatal(err)
	}
	session(upgraded, true)
}

// TestDeclaresWhenUsed verifies that an unused Broker declares no queues, because a
// missing queue is evidence.
func TestDeclaresWhenUsed(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	b := openWith(t, rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}})
	brokertest.Await(t, "a session", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "not been checked")
	})
	ch := admin(t)
	if _, err := ch.QueueDeclarePassive(q, true, false, false, false, nil); err == nil {
		t.Error("the queue was declared before the first use of the Broker")
	}
	brokertest.Publish(t, b, q, brokertest.Text("x"))
}
