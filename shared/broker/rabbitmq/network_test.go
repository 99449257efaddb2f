package rabbitmq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// TestCutWhileHandlersRun cuts the connection while handlers run: their acks fail in
// this process and remove no other message at the broker, and every message is
// delivered again.
func TestCutWhileHandlersRun(t *testing.T) {
	t.Parallel()
	const held, more = 5, 20
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}})
	for i := range held {
		brokertest.Publish(t, b, queue, brokertest.Text(fmt.Sprintf("held %d", i)))
	}
	first := make(chan broker.Delivery, held)
	again := make(chan broker.Delivery, held+more)
	var mu sync.Mutex
	seen := 0
	consumption := brokertest.Start(t, b, queue, held, func(_ context.Context, d broker.Delivery) error {
		mu.Lock()
		seen++
		early := seen <= held
		mu.Unlock()
		if early {
			first <- d
		} else {
			again <- d
		}
		return nil
	})
	var old []broker.Delivery
	for range held {
		old = append(old, brokertest.Receive(t, first, "the first deliveries"))
	}
	for i := range more {
		brokertest.Publish(t, b, queue, brokertest.Text(fmt.Sprintf("more %d", i)))
	}
	p.cut()
	// The new session has its own deliveries, with the same tags as the old one.
	var current []broker.Delivery
	for range held {
		current = append(current, brokertest.Receive(t, again, "deliveries of the new session"))
	}
	for _, d := range old {
		if err := d.Ack(); !errors.Is(err, broker.ErrStale) {
			t.Errorf("ack of %q = %v, want ErrStale", d.Body, err)
		}
	}
	if err := consumption.Stop(t); err != nil {
		t.Errorf("Consume = %v", err)
	}
	_ = current // never acked: all 25 return to the queue when the session ends
	all := make(chan broker.Delivery, held+more)
	brokertest.Start(t, b, queue, held+more, brokertest.Into(all))
	left := map[string]bool{}
	for range held + more {
		d := brokertest.Receive(t, all, "all messages")
		left[string(d.Body)] = d.Redelivered
		brokertest.Ack(t, d)
	}
	for i := range held {
		if redelivered := left[fmt.Sprintf("held %d", i)]; !redelivered {
			t.Errorf("held %d is missing or not marked as redelivered", i)
		}
	}
	if len(left) != held+more {
		t.Errorf("%d of %d messages are left, want %v", len(left), held+more, held+more)
	}
}

// TestCutDoesNotExceedPrefetch verifies that concurrency stays within the prefetch even
// while handlers of a lost session still run.
func TestCutDoesNotExceedPrefetch(t *testing.T) {
	t.Parallel()
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}})
	for i := range 4 {
		brokertest.Publish(t, b, queue, brokertest.Text(fmt.Sprint(i)))
	}
	started, release := make(chan struct{}, 8), make(chan struct{})
	brokertest.Start(t, b, queue, 2, func(_ context.Context, d broker.Delivery) error {
		started <- struct{}{}
		<-release
		if err := d.Ack(); err != nil && !errors.Is(err, broker.ErrStale) {
			return err
		}
		return nil
	})
	brokertest.Receive(t, started, "the first handler")
	brokertest.Receive(t, started, "the second handler")
	p.cut()
	brokertest.Publish(t, b, queue, brokertest.Text("after")) // returns when the broker is available again
	brokertest.ExpectNone(t, started, "a third handler ran with a prefetch of two")
	close(release)
	for range 5 {
		brokertest.Receive(t, started, "the remaining handlers")
	}
}

// TestHandlerErrorWhileDown verifies that a handler that fails while the broker is
// unavailable ends Consume.
func TestHandlerErrorWhileDown(t *testing.T) {
	t.Parallel()
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}})
	brokertest.Publish(t, b, queue, brokertest.Text("x"))
	started, release := make(chan struct{}), make(chan struct{})
	failure := errors.New("failure")
	c := brokertest.Start(t, b, queue, 1, func(context.Context, broker.Delivery) error {
		close(started)
		<-release
		return failure
	})
	brokertest.Receive(t, started, "the handler")
	p.down()
	brokertest.Await(t, "the loss is noticed", func() bool { return b.Ready() != nil })
	close(release)
	if err := c.Wait(t); !errors.Is(err, failure) {
		t.Errorf("Consume = %v, want the handler's error", err)
	}
	p.up(t)
}

// TestBlackHole verifies that on a dead network every publish stays within its time
// limit, whether it is stuck in a full socket or waits behind others, and that all
// recovers.
func TestBlackHole(t *testing.T) {
	const timeout = time.Second
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}, PublishTimeout: timeout, MaxInFlight: 8})
	brokertest.Publish(t, b, queue, brokertest.Text("before"))
	p.stall()
	// More than the buffers of the connection can take.
	body := bytes.Repeat([]byte("x"), 4<<20)
	var publishing sync.WaitGroup
	for range 40 {
		publishing.Go(func() {
			start := time.Now()
			err := b.Publish(t.Context(), queue, broker.Message{Body: body})
			if !errors.Is(err, broker.ErrUnavailable) {
				t.Errorf("Publish = %v, want ErrUnavailable", err)
			}
			if took := time.Since(start); took > timeout+time.Second {
				t.Errorf("Publish took %s with a timeout of %s, want at most %v", took, timeout, timeout+time.Second)
			}
		})
	}
	publishing.Wait()
	start := time.Now()
	if err := b.Broadcast(t.Context(), brokertest.Topic(queue), body); err != nil && !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Broadcast = %v", err)
	}
	if took := time.Since(start); took > timeout+time.Second {
		t.Errorf("Broadcast took %s, want at most %v", took, timeout+time.Second)
	}
	p.resume()
	p.cut()
	brokertest.Publish(t, b, queue, brokertest.Text("after"))
}

// TestUnresponsiveNetwork verifies that a connection that accepts messages but delivers
// no response is closed after one timeout, long before a missed heartbeat.
func TestUnresponsiveNetwork(t *testing.T) {
	const timeout = time.Second
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}, PublishTimeout: timeout})
	brokertest.Publish(t, b, queue, brokertest.Text("before"))
	brokertest.Await(t, "ready", func() bool { return b.Ready() == nil })
	p.stall()
	start := time.Now()
	err := b.Publish(t.Context(), queue, brokertest.Text("during"))
	if took := time.Since(start); !errors.Is(err, broker.ErrUnavailable) || took > timeout+time.Second {
		t.Errorf("Publish = %v after %s, want broker.ErrUnavailable and at most %v", err, took, timeout+time.Second)
	}
	brokertest.Await(t, "the connection is closed", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "publishing connection")
	})
	if took := time.Since(start); took > timeout+2*time.Second {
		t.Errorf("closing the connection took %s, want at most %v", took, timeout+2*time.Second)
	}
	p.resume()
	brokertest.Publish(t, b, queue, brokertest.Text("after"))
}

// TestInspectOnDeadNetwork verifies that on a dead network no inspection outlives its context,
// however many wait, and that they work again afterwards.
func TestInspectOnDeadNetwork(t *testing.T) {
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}})
	brokertest.Publish(t, b, queue, brokertest.Text("before"))
	if states, err := b.Inspect(t.Context(), queue); err != nil || len(states) != 1 {
		t.Fatalf("Inspect = %v, %v", states, err)
	}
	p.stall()
	var inspecting sync.WaitGroup
	for range 3 {
		inspecting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := b.Inspect(ctx, queue); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Inspect = %v, want context.DeadlineExceeded", err)
			}
		})
	}
	inspecting.Wait()
	p.resume()
	if states, err := b.Inspect(t.Context(), queue); err != nil || len(states) != 1 {
		t.Errorf("after the outage: Inspect = %v, %v", states, err)
	}
}

// TestCloseOnDeadNetwork verifies that Close returns in time on a dead network.
func TestCloseOnDeadNetwork(t *testing.T) {
	queue := brokertest.Name()
	p, through := startProxy(t)
	b, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{through}, Declare: true, WorkQueues: []string{queue}}, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(t, queue) })
	brokertest.Publish(t, b, queue, brokertest.Text("x"))
	p.stall()
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("Close took %s, want at most %v", took, 4*time.Second)
	}
	if err := b.Publish(t.Context(), queue, brokertest.Text("x")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Publish = %v, want ErrUnavailable", err)
	}
	if err := b.Consume(t.Context(), queue, 1, nil); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Consume = %v, want ErrUnavailable", err)
	}
}

// TestReconnect verifies that everything recovers by itself after the broker was
// unavailable for a while.
func TestReconnect(t *testing.T) {
	t.Parallel()
	queue := brokertest.Name()
	p, b := openThrough(t, rabbitmq.Config{Declare: true, WorkQueues: []string{queue}})
	fresh := make(chan bool, 8)
	b.OnSession("marker-"+queue, "", func(_ context.Context, f bool) error {
		fresh <- f
		return nil
	})
	got := make(chan string, 8)
	brokertest.Start(t, b, queue, 1, func(_ context.Context, d broker.Delivery) error {
		err := d.Ack()
		got <- string(d.Body)
		return err
	})
	resumed, heard := make(chan struct{}, 8), make(chan string, 8)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Subscribe(ctx, brokertest.Topic(queue), func() { resumed <- struct{}{} }, func(body []byte) { heard <- string(body) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Subscribe = %v", err)
		}
	})
	if !brokertest.Receive(t, fresh, "the hook") {
		t.Error("the first session was not fresh")
	}
	brokertest.Receive(t, resumed, "the subscription")
	brokertest.Publish(t, b, queue, brokertest.Text("one"))
	brokertest.Receive(t, got, "the first message")

	p.down()
	brokertest.Await(t, "Ready reports the loss", func() bool { return isRefused(b.Ready()) })
	if err := b.Broadcast(t.Context(), brokertest.Topic(queue), []byte("lost")); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Broadcast = %v, want ErrUnavailable", err)
	}
	// Long enough for the backoff to grow.
	brokertest.ExpectNone(t, got, "an unexpected message")
	select {
	case <-time.After(6 * time.Second):
	case f := <-fresh:
		t.Errorf("the hook ran without a broker, fresh %v", f)
	}
	p.up(t)
	opened := time.Now()
	brokertest.Await(t, "ready again", func() bool { return b.Ready() == nil })
	if took := time.Since(opened); took > 10*time.Second {
		t.Errorf("reconnecting took %s, want at most %v", took, 10*time.Second)
	}
	if brokertest.Receive(t, fresh, "the hook") {
		t.Error("fresh is true after a loss of the connection only")
	}
	brokertest.Receive(t, resumed, "the subscription")
	brokertest.Publish(t, b, queue, brokertest.Text("two"))
	// The ack of the first message may have been lost in transit.
	for body := ""; body != "two"; {
		body = brokertest.Receive(t, got, "the second message")
	}
	if err := b.Broadcast(t.Context(), brokertest.Topic(queue), []byte("heard")); err != nil {
		t.Errorf("Broadcast = %v", err)
	}
	if body := brokertest.Receive(t, heard, "the broadcast"); body != "heard" {
		t.Errorf("heard %q, want \"heard\"", body)
	}
}
