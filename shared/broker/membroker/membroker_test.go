package membroker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, workQueues ...string) broker.Broker {
	t.Helper()
	b := membroker.New(workQueues...)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return b
}

func TestSuite(t *testing.T) { brokertest.RunInBubble(t, open) }

func TestRetryDelaysAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "q")
		start := time.Now()
		got := make(chan time.Duration, 16)
		brokertest.Start(t, b, "q", 1, func(_ context.Context, d broker.Delivery) error {
			got <- time.Since(start)
			return d.Ack()
		})
		for _, d := range broker.RetryDelays {
			brokertest.Publish(t, b, broker.RetryQueue("q", d), brokertest.Text(d.String()))
		}
		time.Sleep(2 * time.Second) // fake time of the bubble
		brokertest.Publish(t, b, broker.RetryQueue("q", time.Second), brokertest.Text("once more"))
		for _, want := range []time.Duration{1, 3, 5, 15} {
			if at := brokertest.Receive(t, got, "a delayed message"); at != want*time.Second {
				t.Errorf("arrived after %s, want %s", at, want*time.Second)
			}
		}
	})
}

func TestFullQueueRejects(t *testing.T) {
	b := membroker.NewBounded(2, "q")
	defer b.Close()
	for range 2 {
		brokertest.Publish(t, b, "q", brokertest.Text("x"))
	}
	err := b.Publish(t.Context(), "q", brokertest.Text("too much"))
	if !errors.Is(err, broker.ErrUnavailable) || errors.Is(err, broker.ErrNoRoute) {
		t.Fatalf("publish to a full queue = %v, want ErrUnavailable", err)
	}
	got := make(chan broker.Delivery, 2)
	brokertest.Start(t, b, "q", 2, brokertest.Into(got))
	first := brokertest.Receive(t, got, "a message")
	if err := b.Publish(t.Context(), "q", brokertest.Text("x")); err == nil {
		t.Error("unacked deliveries were not counted")
	}
	brokertest.Ack(t, first)
	if err := b.Publish(t.Context(), "q", brokertest.Text("x")); err != nil {
		t.Errorf("publish after an ack = %v", err)
	}
}

// TestBacklog verifies that a large backlog is delivered in order, within a few
// seconds, and leaves the queue empty.
func TestBacklog(t *testing.T) {
	const n = 100_000
	b := membroker.New("q")
	defer b.Close()
	for i := range n {
		if err := b.Publish(t.Context(), "q", brokertest.Text(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if b.Len("q") != n {
		t.Fatalf("Len = %d, want %d", b.Len("q"), n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := 0
	err := b.Consume(ctx, "q", 1, func(_ context.Context, d broker.Delivery) error {
		if string(d.Body) != fmt.Sprint(next) {
			t.Errorf("got %s, want %d", d.Body, next)
		}
		if next++; next == n {
			cancel()
		}
		return d.Ack()
	})
	if err != nil || next != n || b.Len("q") != 0 {
		t.Errorf("Consume = %v after %d messages, %d left, want nil, %v and 0", err, next, b.Len("q"), n)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	b := membroker.New("q")
	calls := make(chan error, 2)
	started := make(chan struct{})
	brokertest.Publish(t, b, "q", brokertest.Text("x"))
	var running sync.WaitGroup
	running.Go(func() {
		calls <- b.Consume(t.Context(), "q", 1, func(context.Context, broker.Delivery) error {
			close(started)
			return nil
		})
	})
	running.Go(func() { calls <- b.Subscribe(t.Context(), "topic", nil, func([]byte) {}) })
	brokertest.Receive(t, started, "the handler")
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	for range 2 {
		if err := brokertest.Receive(t, calls, "the end of the call"); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("call on a closed broker = %v, want ErrUnavailable", err)
		}
	}
	running.Wait()
	if err := b.Publish(t.Context(), "q", brokertest.Text("x")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Publish = %v, want ErrUnavailable", err)
	}
	if b.Ready() == nil {
		t.Error("a closed broker is ready")
	}
}

// TestSlowSubscriber verifies that a slow subscriber loses the oldest broadcasts and
// blocks no publisher.
func TestSlowSubscriber(t *testing.T) {
	b := membroker.New()
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	subscribed, first, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	var got []string
	go func() {
		ended <- b.Subscribe(ctx, "topic", func() { close(subscribed) }, func(body []byte) {
			if len(got) == 0 {
				close(first)
				<-release
			}
			if got = append(got, string(body)); string(body) == "last" {
				cancel()
			}
		})
	}()
	brokertest.Receive(t, subscribed, "the subscription")
	broadcast := func(body string) {
		if err := b.Broadcast(t.Context(), "topic", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	broadcast("first")
	brokertest.Receive(t, first, "the first broadcast")
	for i := range 5000 {
		broadcast(fmt.Sprint(i))
	}
	broadcast("last")
	close(release)
	if err := brokertest.Receive(t, ended, "Subscribe to return"); err != nil {
		t.Errorf("Subscribe = %v", err)
	}
	if len(got) != 1025 || got[1] != fmt.Sprint(5000-1023) {
		t.Errorf("got %d broadcasts, the second %q; want the first and the newest 1024", len(got), got[1])
	}
}

func BenchmarkPublishConsume(bench *testing.B) {
	b := membroker.New("q")
	defer b.Close()
	ctx, cancel := context.WithCancel(bench.Context())
	done := 0
	bench.ReportAllocs()
	var consuming sync.WaitGroup
	consuming.Go(func() {
		_ = b.Consume(ctx, "q", 1, func(_ context.Context, d broker.Delivery) error {
			if done++; done == bench.N {
				cancel()
			}
			return d.Ack()
		})
	})
	for range bench.N {
		for b.Publish(bench.Context(), "q", brokertest.Text("x")) != nil {
			runtime.Gosched() // the queue is full
		}
	}
	consuming.Wait()
}
