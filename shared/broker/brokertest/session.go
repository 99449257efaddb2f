package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
)

func testBroadcast(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	topic, other := Topic(queue), Topic(queue)+".other"
	const subscribers = 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	subscribed, ended := make(chan struct{}, subscribers+1), make(chan error, subscribers+1)
	var got [subscribers]chan string
	for i := range got {
		got[i] = make(chan string, 8)
		go func() {
			ended <- b.Subscribe(ctx, topic, func() { subscribed <- struct{}{} }, func(body []byte) { got[i] <- string(body) })
		}()
	}
	go func() {
		ended <- b.Subscribe(ctx, other, func() { subscribed <- struct{}{} }, func(body []byte) { t.Errorf("subscriber of another topic got %q", body) })
	}()
	for range subscribers + 1 {
		Receive(t, subscribed, "the subscriptions")
	}
	for i := range 3 {
		if err := b.Broadcast(t.Context(), topic, fmt.Append(nil, i)); err != nil {
			t.Fatalf("Broadcast = %v", err)
		}
	}
	for i := range got {
		for j := range 3 {
			if body := Receive(t, got[i], "the broadcast"); body != fmt.Sprint(j) {
				t.Errorf("subscriber %d got %q, want %d", i, body, j)
			}
		}
	}
	cancel()
	for range subscribers + 1 {
		if err := Receive(t, ended, "Subscribe to return"); err != nil {
			t.Errorf("Subscribe = %v", err)
		}
	}
}

func testBroadcastWithoutSubscribers(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	// A confirmed publish proves that there is a session.
	Publish(t, b, queue, Text("ready"))
	for range 3 {
		if err := b.Broadcast(t.Context(), Topic(queue), []byte("?")); err != nil {
			t.Errorf("Broadcast = %v", err)
		}
	}
}

func testOneAtATime(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	Publish(t, b, queue, Text("ready"))
	topic := Topic(queue)
	ctx, cancel := context.WithCancel(t.Context())
	subscribed, ended := make(chan struct{}, 1), make(chan error, 1)
	handling, release := make(chan struct{}, 16), make(chan struct{})
	var running atomic.Int32
	go func() {
		ended <- b.Subscribe(ctx, topic, func() { subscribed <- struct{}{} }, func([]byte) {
			if running.Add(1) > 1 {
				t.Error("two broadcasts were handled concurrently")
			}
			handling <- struct{}{}
			<-release
			running.Add(-1)
		})
	}()
	Receive(t, subscribed, "the subscription")
	for range 4 {
		if err := b.Broadcast(t.Context(), topic, []byte("x")); err != nil {
			t.Fatalf("Broadcast = %v", err)
		}
	}
	Receive(t, handling, "the first broadcast")
	ExpectNone(t, handling, "the second broadcast arrived during the first")
	close(release)
	for range 3 {
		Receive(t, handling, "the remaining broadcasts")
	}
	cancel()
	if err := Receive(t, ended, "Subscribe to return"); err != nil {
		t.Errorf("Subscribe = %v", err)
	}
}

func testHook(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	called, release := make(chan bool, 4), make(chan struct{})
	b.OnSession("marker-"+queue, "", func(_ context.Context, fresh bool) error {
		called <- fresh
		<-release
		return nil
	})
	got := make(chan broker.Delivery, 1)
	Start(t, b, queue, 1, Into(got))
	if !Receive(t, called, "the hook") {
		t.Error("the first session was not fresh")
	}
	if b.Ready() == nil {
		t.Error("ready before the hook has run")
	}
	ExpectNone(t, got, "a delivery before the hook returned")
	close(release)
	Publish(t, b, queue, Text("after"))
	Ack(t, Receive(t, got, "a delivery after the hook"))
	if err := b.Ready(); err != nil {
		t.Errorf("Ready = %v", err)
	}
	ExpectNone(t, called, "the hook ran twice in one session")
}

func testHookFails(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	var calls atomic.Int32
	b.OnSession("marker-"+queue, "", func(_ context.Context, fresh bool) error {
		if !fresh {
			t.Error("fresh is false after a failed hook")
		}
		if calls.Add(1) < 3 {
			return errors.New("database unavailable")
		}
		return nil
	})
	got := make(chan broker.Delivery, 1)
	Start(t, b, queue, 1, func(_ context.Context, d broker.Delivery) error {
		if calls.Load() != 3 {
			t.Errorf("a delivery after %d calls of the hook, want 3", calls.Load())
		}
		got <- d
		return nil
	})
	Publish(t, b, queue, Text("x"))
	Ack(t, Receive(t, got, "a delivery after the hook"))
}
