// Package brokertest is the contract test suite for implementations of broker.Broker.
// It tests the contract as services see it, not how a broker implements it.
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

// Timeout is how long a test waits for an expected event. quiet is how long it waits
// for the absence of an event.
const (
	Timeout = 30 * time.Second
	quiet   = 250 * time.Millisecond
)

// Opener returns a broker that serves the given work queues with their whole topology,
// all empty. The broker is closed when t ends.
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

// RunInBubble runs the suite for a broker inside the process, each case in its own
// [synctest] bubble, where waiting takes no real time.
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
	{"a published message arrives once and complete", testArrives},
	{"an unacked message returns to the queue, marked redelivered", testNotAcked},
	{"unacked deliveries never exceed the prefetch", testPrefetch},
	{"a handler's error ends Consume and returns messages to the queue", testHandlerError},
	{"a drain waits for handlers, and their acks count", testDrain},
	{"an ack after the end of the session is stale", testStaleAck},
	{"a second ack fails and affects no other delivery", testDoubleAck},
	{"two consumers share the work", testShared},
	{"many goroutines publish concurrently", testManyPublishers},
	{"a publish to a missing queue has no route", testNoRoute},
	{"publish and consume with an ended context do nothing", testEndedContext},
	{"a prefetch of 0 is rejected", testNoPrefetch},
	{"the retry queues delay exactly", testRetryQueues},
	{"a message can be retried without limit", testRetryAgain},
	{"the delivery limit makes a dead letter", testDeliveryLimit},
	{"the depth counts waiting messages", testDepth},
	{"an inspection counts waiting messages and consumers", testInspect},
	{"browsing removes no messages and keeps the order", testBrowse},
	{"browsing removes only acked messages", testBrowseAck},
	{"browsing some messages keeps the order", testBrowseSome},
	{"a handler's error ends Browse and returns messages to the queue", testBrowseError},
	{"a queue with a consumer cannot be browsed", testBrowseInUse},
	{"concurrent browsers see all messages or are refused", testBrowseConcurrently},
	{"a dead letter has its deaths", testDeaths},
	{"a broadcast reaches every subscriber", testBroadcast},
	{"a broadcast without subscribers is no error", testBroadcastWithoutSubscribers},
	{"a subscriber gets one broadcast at a time", testOneAtATime},
	{"the hook runs before anything is consumed", testHook},
	{"a failed hook runs again", testHookFails},
}

// Name returns a unique queue name.
func Name() string { return "t-" + strings.ToLower(rand.Text()[:12]) }

// Topic returns the topic name for a test's queue. All topics of a test start with it,
// so that cleanup can find them.
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

// Stop ends the consumption and returns the result of Consume.
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

// Into returns a handler that sends deliveries to a channel, unacked.
func Into(deliveries chan broker.Delivery) func(context.Context, broker.Delivery) error {
	return func(_ context.Context, d broker.Delivery) error {
		deliveries <- d
		return nil
	}
}

// Receive returns the next value from the channel, and fails the test after Timeout.
func Receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-from:
	case <-time.After(Timeout):
		t.Fatalf("timed out after %s waiting for %s", Timeout, what)
	}
	return v
}

// Await polls until done returns true. It is for conditions without an event to wait for.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Timeout)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out after %s waiting for: %s", Timeout, what)
		}
	}
}

// ExpectNone fails the test if a value arrives within a short time.
func ExpectNone[T any](t *testing.T, from <-chan T, what string) {
	t.Helper()
	select {
	case v := <-from:
		t.Fatalf("%s: got %+v", what, v)
	case <-time.After(quiet):
	}
}

// Publish publishes a message, and tries again while the broker is unavailable or the
// queue is not declared yet.
func Publish(t *testing.T, b broker.Broker, queue string, m broker.Message) {
	t.Helper()
	deadline := time.After(Timeout)
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

// Text returns a message with the given body.
func Text(body string) broker.Message { return broker.Message{Body: []byte(body)} }

// Ack acks the delivery and fails the test on an error.
func Ack(t *testing.T, d broker.Delivery) {
	t.Helper()
	if err := d.Ack(); err != nil {
		t.Fatalf("ack %q: %v", d.Body, err)
	}
}

// ExpectEmpty verifies that a queue is empty: a message published now arrives first.
func ExpectEmpty(t *testing.T, b broker.Broker, queue string) {
	t.Helper()
	got := make(chan broker.Delivery, 1)
	Publish(t, b, queue, Text("the end"))
	c := Start(t, b, queue, 1, Into(got))
	if d := Receive(t, got, "the last message"); string(d.Body) != "the end" {
		t.Errorf("queue %s still had %q, want \"the end\"", queue, d.Body)
	} else {
		Ack(t, d)
	}
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
}
