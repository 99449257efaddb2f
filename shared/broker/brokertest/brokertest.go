// Package brokertest is the suite that every broker.Broker passes. It asserts the
// contract as a service meets it, and nothing about how a broker keeps it.
package brokertest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// Patience is how long a test waits for what must happen; quiet, for what must
// not.
const (
	Patience = 30 * time.Second
	quiet    = 250 * time.Millisecond
)

// Opener gives a broker that serves the work queues named, with their whole
// topology, and whose session begins with nothing. The broker ends with t.
type Opener func(t *testing.T, workQueues ...string) broker.Broker

// Run runs the suite in real time, its cases in parallel.
func Run(t *testing.T, open Opener) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open)
		})
	}
}

// RunInBubble runs the suite for a broker inside the process: each case in a
// [synctest] bubble of its own, where waiting takes no real time.
func RunInBubble(t *testing.T, open Opener) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, open) })
		})
	}
}

var cases = []struct {
	name string
	run  func(t *testing.T, open Opener)
}{
	{"what is published arrives once and whole", testArrives},
	{"what is not acked goes back marked redelivered", testNotAcked},
	{"unacked deliveries never exceed the prefetch", testPrefetch},
	{"a handler's error ends Consume and gives back", testHandlerError},
	{"a drain waits for handlers and their acks count", testDrain},
	{"an ack after the end is stale", testStaleAck},
	{"a second ack is refused and harms no neighbour", testDoubleAck},
	{"two consumers share the work", testShared},
	{"many publish at once", testManyPublishers},
	{"a missing queue is no route", testNoRoute},
	{"an ended context publishes and consumes nothing", testEndedContext},
	{"a prefetch of nothing is refused", testNoPrefetch},
	{"the retry ladder is exact", testRetryQueues},
	{"a retried message can be retried for ever", testRetryAgain},
	{"the delivery limit makes a dead letter", testDeliveryLimit},
	{"the depth is what waits", testDepth},
	{"browsing takes nothing and keeps the order", testBrowse},
	{"browsing takes what is acked and no more", testBrowseAck},
	{"a handler's error ends Browse and gives back", testBrowseError},
	{"a queue that is read can't be browsed", testBrowseInUse},
	{"a dead letter tells how it died", testDeaths},
	{"a broadcast reaches every subscriber", testBroadcast},
	{"a broadcast to nobody is no error", testBroadcastToNobody},
	{"a subscriber gets one broadcast at a time", testOneAtATime},
	{"the hook runs before anything is consumed", testHook},
	{"a hook that fails is run again", testHookFails},
}

// Name makes a queue name that no other test has.
func Name() string { return "t-" + strings.ToLower(rand.Text()[:12]) }

// Topic names the topic that goes with a queue's test. All topics of the suite
// begin so, for whoever clears up.
func Topic(queue string) string { return queue + ".topic" }

// Consumption is a Consume that runs in its own goroutine.
type Consumption struct {
	stop  context.CancelFunc
	ended chan error
}

// Start consumes until the test ends, or Stop.
func Start(t *testing.T, b broker.Broker, queue string, prefetch int, handle func(context.Context, broker.Delivery) error) *Consumption {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &Consumption{stop: stop, ended: make(chan error, 1)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.ended <- b.Consume(ctx, queue, prefetch, handle)
	}()
	t.Cleanup(func() {
		stop()
		<-finished
	})
	return c
}

// Stop ends the consumption and gives what Consume returned.
func (c *Consumption) Stop(t *testing.T) error {
	t.Helper()
	c.stop()
	return c.Wait(t)
}

// Wait waits for Consume to return by itself.
func (c *Consumption) Wait(t *testing.T) error {
	t.Helper()
	return Receive(t, c.ended, "Consume to return")
}

// Into hands deliveries to a channel, unacked, and leaves them to the test.
func Into(deliveries chan broker.Delivery) func(context.Context, broker.Delivery) error {
	return func(_ context.Context, d broker.Delivery) error {
		deliveries <- d
		return nil
	}
}

// Receive waits for a value.
func Receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-from:
	case <-time.After(Patience):
		t.Fatalf("waited %s in vain for %s", Patience, what)
	}
	return v
}

// Await polls until done returns true. It is for conditions without an event to wait for.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s in vain: %s", Patience, what)
		}
	}
}

// Nothing sees to it that no value comes for a while.
func Nothing[T any](t *testing.T, from <-chan T, what string) {
	t.Helper()
	select {
	case v := <-from:
		t.Fatalf("%s: got %+v", what, v)
	case <-time.After(quiet):
	}
}

// Publish publishes, and again while the broker is unavailable or still knows no
// such queue.
func Publish(t *testing.T, b broker.Broker, queue string, m broker.Message) {
	t.Helper()
	deadline := time.After(Patience)
	for {
		err := b.Publish(t.Context(), queue, m)
		if err == nil {
			return
		}
		if !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("publish to %s: %v, want broker.ErrUnavailable", queue, err)
		}
		select {
		case <-deadline:
			t.Fatalf("publish to %s: %v", queue, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Text is a message with that body.
func Text(body string) broker.Message { return broker.Message{Body: []byte(body)} }

// Ack acks and fails the test when that fails.
func Ack(t *testing.T, d broker.Delivery) {
	t.Helper()
	if err := d.Ack(); err != nil {
		t.Fatalf("ack %q: %v", d.Body, err)
	}
}

// Gone sees to it that a queue holds nothing: what is published now comes first.
func Gone(t *testing.T, b broker.Broker, queue string) {
	t.Helper()
	got := make(chan broker.Delivery, 1)
	Publish(t, b, queue, Text("the end"))
	c := Start(t, b, queue, 1, Into(got))
	if d := Receive(t, got, "the last message"); string(d.Body) != "the end" {
		t.Errorf("queue %s still held %q, want \"the end\"", queue, d.Body)
	} else {
		Ack(t, d)
	}
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
}
