package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
)

func testArrives(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	big := bytes.Repeat([]byte("0123456789abcdef"), 256<<10/16)
	headers := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	Publish(t, b, queue, broker.Message{Body: []byte("first"), Headers: headers})
	Publish(t, b, queue, broker.Message{Body: big})

	got := make(chan broker.Delivery, 2)
	c := Start(t, b, queue, 1, Into(got))
	first := Receive(t, got, "the first message")
	if string(first.Body) != "first" || !maps.Equal(first.Headers, headers) || first.Redelivered {
		t.Errorf("got body %q, headers %v, redelivered %v", first.Body, first.Headers, first.Redelivered)
	}
	Ack(t, first)
	second := Receive(t, got, "the second message")
	if !bytes.Equal(second.Body, big) || len(second.Headers) != 0 {
		t.Errorf("got %d bytes, headers %v; want %d bytes and none", len(second.Body), second.Headers, len(big))
	}
	Ack(t, second)
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
	ExpectEmpty(t, b, queue)
}

func testNotAcked(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("kept"))
	got := make(chan broker.Delivery, 1)
	c := Start(t, b, queue, 4, Into(got))
	Receive(t, got, "the delivery")
	ExpectNone(t, got, "an unacked message was redelivered before its consumer closed")
	if err := c.Stop(t); err != nil {
		t.Fatalf("Consume = %v", err)
	}
	Start(t, b, queue, 4, Into(got))
	again := Receive(t, got, "the redelivery")
	if string(again.Body) != "kept" || !again.Redelivered {
		t.Errorf("got %q, redelivered %v", again.Body, again.Redelivered)
	}
	Ack(t, again)
}

func testPrefetch(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	for i := range 7 {
		Publish(t, b, queue, Text(fmt.Sprint(i)))
	}
	got := make(chan broker.Delivery, 7)
	Start(t, b, queue, 3, Into(got))
	// The handlers return immediately; only the ack frees a slot.
	held := []broker.Delivery{Receive(t, got, "1 of 3"), Receive(t, got, "2 of 3"), Receive(t, got, "3 of 3")}
	ExpectNone(t, got, "a fourth delivery with a prefetch of three")
	Ack(t, held[1])
	Receive(t, got, "a delivery after the ack")
	ExpectNone(t, got, "a second delivery after one ack")
}

func testHandlerError(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("slow"))
	started, release := make(chan struct{}), make(chan struct{})
	failure := errors.New("store unavailable")
	failed := make(chan struct{})
	c := Start(t, b, queue, 2, func(_ context.Context, d broker.Delivery) error {
		if string(d.Body) == "slow" {
			close(started)
			<-release
			return d.Ack()
		}
		defer close(failed)
		return failure
	})
	Receive(t, started, "the slow handler's start")
	Publish(t, b, queue, Text("bad"))
	Receive(t, failed, "the failing handler's start")
	Publish(t, b, queue, Text("later"))
	ExpectNone(t, c.ended, "Consume returned before its other handler")
	close(release)
	if err := c.Wait(t); !errors.Is(err, failure) {
		t.Fatalf("Consume = %v, want the handler's error", err)
	}
	got := make(chan broker.Delivery, 3)
	Start(t, b, queue, 3, Into(got))
	left := map[string]bool{}
	for range 2 {
		d := Receive(t, got, "a returned message")
		left[string(d.Body)] = true
		Ack(t, d)
	}
	if !left["bad"] || !left["later"] {
		t.Errorf("returned to the queue: %v; want bad and later", left)
	}
	ExpectNone(t, got, "the acked message was delivered again")
}

func testDrain(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("work"))
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
	defer cancel()
	started, release := make(chan context.Context, 1), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, queue, 1, func(ctx context.Context, d broker.Delivery) error {
			started <- ctx
			<-release
			return d.Ack()
		})
	}()
	handlerCtx := Receive(t, started, "the handler")
	cancel()
	Publish(t, b, queue, Text("too late"))
	ExpectNone(t, ended, "Consume returned before its handler")
	if handlerCtx.Err() != nil || handlerCtx.Value(key{}) != "kept" {
		t.Errorf("the handler's context: %v, value %v, want nil and \"kept\"", handlerCtx.Err(), handlerCtx.Value(key{}))
	}
	close(release)
	if err := Receive(t, ended, "Consume to return"); err != nil {
		t.Errorf("Consume = %v", err)
	}
	ExpectNone(t, started, "a delivery after the end of Consume")
	got := make(chan broker.Delivery, 2)
	Start(t, b, queue, 2, Into(got))
	if d := Receive(t, got, "the late message"); string(d.Body) != "too late" {
		t.Errorf("got %q, want \"too late\": the ack during the drain did not count", d.Body)
	}
}

func testStaleAck(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("old"))
	got := make(chan broker.Delivery, 1)
	c := Start(t, b, queue, 1, Into(got))
	old := Receive(t, got, "the delivery")
	if err := c.Stop(t); err != nil {
		t.Fatalf("Consume = %v", err)
	}
	c = Start(t, b, queue, 1, Into(got))
	again := Receive(t, got, "the redelivery")
	if err := old.Ack(); !errors.Is(err, broker.ErrStale) {
		t.Errorf("ack of an ended session = %v, want ErrStale", err)
	}
	if err := c.Stop(t); err != nil {
		t.Fatalf("Consume = %v", err)
	}
	if err := again.Ack(); !errors.Is(err, broker.ErrStale) {
		t.Errorf("ack of an ended session = %v, want ErrStale", err)
	}
	Start(t, b, queue, 1, Into(got))
	Ack(t, Receive(t, got, "the message after the stale acks"))
}

func testDoubleAck(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	got := make(chan broker.Delivery, 3)
	c := Start(t, b, queue, 3, Into(got))
	Publish(t, b, queue, Text("acked twice"))
	twice := Receive(t, got, "the first")
	Publish(t, b, queue, Text("other"))
	other := Receive(t, got, "the other delivery")
	Ack(t, twice)
	if err := twice.Ack(); err == nil {
		t.Error("the second ack returned no error")
	}
	Publish(t, b, queue, Text("after"))
	if d := Receive(t, got, "the message after it"); string(d.Body) != "after" || d.Redelivered {
		t.Errorf("got %q, redelivered %v", d.Body, d.Redelivered)
	} else {
		Ack(t, d)
	}
	Ack(t, other)
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
	ExpectEmpty(t, b, queue)
}

func testShared(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	one, other := make(chan broker.Delivery, 1), make(chan broker.Delivery, 1)
	Start(t, b, queue, 1, Into(one))
	Start(t, b, queue, 1, Into(other))
	Publish(t, b, queue, Text("a"))
	Publish(t, b, queue, Text("b"))
	a, c := Receive(t, one, "a message for the first consumer"), Receive(t, other, "a message for the second consumer")
	if string(a.Body) == string(c.Body) {
		t.Errorf("both consumers got %q", a.Body)
	}
	Ack(t, a)
	Ack(t, c)
}

func testManyPublishers(t *testing.T, open Opener) {
	const publishers, each = 40, 25
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("0/0"))
	var publishing sync.WaitGroup
	for i := range publishers {
		publishing.Go(func() {
			for j := range each {
				if err := b.Publish(t.Context(), queue, Text(fmt.Sprintf("%d/%d", i+1, j))); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	got := make(chan string, publishers*each+1)
	Start(t, b, queue, 16, func(_ context.Context, d broker.Delivery) error {
		got <- string(d.Body)
		return d.Ack()
	})
	seen := map[string]int{}
	for range publishers*each + 1 {
		seen[Receive(t, got, "the next message")]++
	}
	publishing.Wait()
	if len(seen) != publishers*each+1 {
		t.Errorf("%d different messages, want %d", len(seen), publishers*each+1)
	}
	ExpectNone(t, got, "a message was delivered twice")
}

func testNoRoute(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("there"))
	err := b.Publish(t.Context(), Name(), Text("nowhere"))
	if !errors.Is(err, broker.ErrNoRoute) || !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("publish to a missing queue = %v, want ErrNoRoute and ErrUnavailable", err)
	}
	if err := b.Publish(t.Context(), queue, Text("there")); err != nil {
		t.Errorf("publish after that = %v", err)
	}
}

func testEndedContext(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("untouched"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Publish(ctx, queue, Text("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish = %v, want context.Canceled", err)
	}
	err := b.Consume(ctx, queue, 1, func(context.Context, broker.Delivery) error {
		t.Error("a message was delivered")
		return nil
	})
	if err != nil {
		t.Errorf("Consume = %v", err)
	}
}

func testNoPrefetch(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	if err := b.Consume(t.Context(), queue, 0, nil); err == nil {
		t.Error("Consume accepted a prefetch of 0")
	}
}
