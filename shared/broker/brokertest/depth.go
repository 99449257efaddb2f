package brokertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

func testDepth(t *testing.T, open Opener) {
	queue, other := Name(), Name()
	b := open(t, queue, other)
	// Other tests have messages in DeadResults.
	all := slices.DeleteFunc(broker.Backlog(queue, other), func(name string) bool { return name == broker.DeadResults })
	for range 3 {
		Publish(t, b, queue, Text("x"))
	}
	Publish(t, b, other, Text("x"))
	Publish(t, b, broker.QuarantineQueue(queue), Text("x"))
	awaitDepth(t, b, 3, queue)
	awaitDepth(t, b, 4, queue, other)
	awaitDepth(t, b, 5, all...)

	// Messages in flight are not counted, and are counted again when they return
	// unacked.
	got := make(chan broker.Delivery, 2)
	c := Start(t, b, queue, 2, Into(got))
	Ack(t, Receive(t, got, "a delivery"))
	Receive(t, got, "the second delivery")
	Receive(t, got, "the third delivery")
	awaitDepth(t, b, 0, queue)
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
	awaitDepth(t, b, 2, queue)

	// A retry is counted on its retry queue, here longer than the check takes, and then on its work queue.
	Publish(t, b, broker.RetryQueue(other, time.Second), Text("x"))
	awaitDepth(t, b, 2, other)
	slow := broker.RetryQueue(other, broker.RetryDelays[len(broker.RetryDelays)-1])
	Publish(t, b, slow, Text("x"))
	awaitDepth(t, b, 1, slow)

	if _, err := b.Depth(t.Context(), queue, "nowhere-"+queue); !errors.Is(err, broker.ErrNoRoute) {
		t.Errorf("Depth of a missing queue: %v, want broker.ErrNoRoute", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Depth(ended, queue); !errors.Is(err, context.Canceled) {
		t.Errorf("Depth with an ended context: %v, want context.Canceled", err)
	}
	awaitDepth(t, b, 0)
}

// awaitDepth waits until the depth of the queues is want.
func awaitDepth(t *testing.T, b broker.Broker, want int, queues ...string) {
	t.Helper()
	deadline := time.After(Timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		depth, err := b.Depth(t.Context(), queues...)
		if err != nil {
			t.Fatalf("Depth = %v", err)
		}
		if depth == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("depth of %[2]v is %[1]d, want %[3]d", depth, queues, want)
		}
	}
}

func testInspect(t *testing.T, open Opener) {
	queue, other := Name(), Name()
	b := open(t, queue, other)
	for range 3 {
		Publish(t, b, queue, Text("x"))
	}
	Publish(t, b, broker.DeadQueue(other), Text("x"))
	missing, dead := "nowhere-"+queue, broker.DeadQueue(other)
	awaitStates(t, b, map[string]broker.QueueState{queue: {Waiting: 3}, other: {}, dead: {Waiting: 1}}, queue, other, dead, missing)

	// A message in flight is not counted, and a consumer is counted until it ends.
	got := make(chan broker.Delivery, 1)
	c := Start(t, b, queue, 1, Into(got))
	d := Receive(t, got, "a delivery")
	awaitStates(t, b, map[string]broker.QueueState{queue: {Waiting: 2, Consumers: 1}}, queue)
	Ack(t, d)
	Receive(t, got, "the second delivery")
	if err := c.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
	awaitStates(t, b, map[string]broker.QueueState{queue: {Waiting: 2}, other: {}}, other, queue)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := browser(t, b).Inspect(ended, queue); !errors.Is(err, context.Canceled) {
		t.Errorf("Inspect with an ended context: %v, want context.Canceled", err)
	}
	awaitStates(t, b, map[string]broker.QueueState{})
}

// awaitStates waits until an inspection of the queues returns the wanted states.
func awaitStates(t *testing.T, b broker.Broker, want map[string]broker.QueueState, queues ...string) {
	t.Helper()
	deadline := time.After(Timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := browser(t, b).Inspect(t.Context(), queues...)
		if err != nil {
			t.Fatalf("Inspect = %v", err)
		}
		if maps.Equal(states, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the states of %v are %v, want %v", queues, states, want)
		}
	}
}
