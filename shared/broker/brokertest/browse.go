package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// letterCount is more messages than a broker would keep in order by chance.
const letterCount = 100

// fill opens a broker and fills the dead-letter queue of a work queue.
func fill(t *testing.T, open Opener) (b broker.Broker, queue string, want []string) {
	t.Helper()
	work := Name()
	b, queue = open(t, work), broker.DeadQueue(work)
	for i := range letterCount {
		want = append(want, fmt.Sprintf("message %d", i))
		Publish(t, b, queue, Text(want[i]))
	}
	return b, queue, want
}

// browse browses the queue, acks the messages with the bodies in take, and returns all
// bodies.
func browse(t *testing.T, b broker.Broker, queue string, take ...string) (seen []string) {
	t.Helper()
	err := browser(t, b).Browse(t.Context(), queue, broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
		seen = append(seen, string(l.Body))
		if slices.Contains(take, string(l.Body)) {
			return l.Ack()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Browse = %v", err)
	}
	return seen
}

func browser(t *testing.T, b broker.Broker) broker.Browser {
	t.Helper()
	other, ok := b.(broker.Browser)
	if !ok {
		t.Fatalf("%T is not a Browser", b)
	}
	return other
}

func testBrowse(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	// More often than the default delivery limit of RabbitMQ 4 allows.
	for n := range 25 {
		if seen := browse(t, b, queue); !slices.Equal(seen, want) {
			t.Fatalf("browse %d returned %d messages: %v, want %v", n+1, len(seen), seen, want)
		}
	}
	if seen := browse(t, b, queue[:len(queue)-len(".dead")]); len(seen) != 0 {
		t.Errorf("browsing an empty queue returned %v, want none", seen)
	}
	err := browser(t, b).Browse(t.Context(), queue+".none", broker.MaxBrowse, nil)
	if !errors.Is(err, broker.ErrNoRoute) {
		t.Errorf("Browse of a missing queue = %v, want broker.ErrNoRoute", err)
	}
}

func testBrowseAck(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	take := []string{want[0], want[50], want[99]}
	if seen := browse(t, b, queue, take...); !slices.Equal(seen, want) {
		t.Fatalf("got %d messages: %v, want %v", len(seen), seen, want)
	}
	Publish(t, b, queue, Text("a later one"))
	want = append(slices.DeleteFunc(want, func(s string) bool { return slices.Contains(take, s) }), "a later one")
	if seen := browse(t, b, queue); !slices.Equal(seen, want) {
		t.Errorf("got  %v\nwant %v", seen, want)
	}
}

// testBrowseSome verifies that a Browse of some messages shows the first ones, again and again, and
// that a Browse of all of them still finds all in order.
func testBrowseSome(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	const most = 30
	first := func(take ...string) (seen []string) {
		t.Helper()
		err := browser(t, b).Browse(t.Context(), queue, most, func(_ context.Context, l broker.Letter) error {
			seen = append(seen, string(l.Body))
			if slices.Contains(take, string(l.Body)) {
				return l.Ack()
			}
			return nil
		})
		if err != nil {
			t.Fatalf("Browse = %v", err)
		}
		return seen
	}
	for n := range 3 {
		if seen := first(); !slices.Equal(seen, want[:most]) {
			t.Fatalf("browse %d returned %v, want %v", n+1, seen, want[:most])
		}
	}
	take := []string{want[0], want[29]}
	first(take...)
	want = slices.DeleteFunc(want, func(s string) bool { return slices.Contains(take, s) })
	if seen := first(); !slices.Equal(seen, want[:most]) {
		t.Errorf("after two acks got %v, want %v", seen, want[:most])
	}
	if seen := browse(t, b, queue); !slices.Equal(seen, want) {
		t.Errorf("all messages are %v, want %v", seen, want)
	}
}

func testBrowseError(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	enough := errors.New("enough")
	var late broker.Letter
	seen := 0
	err := browser(t, b).Browse(t.Context(), queue, broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
		late = l
		if seen++; seen == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 3 {
		t.Errorf("Browse = %v after %d messages, want %v and 3", err, seen, enough)
	}
	if err := late.Ack(); !errors.Is(err, broker.ErrStale) {
		t.Errorf("Ack after Browse = %v, want broker.ErrStale", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err = browser(t, b).Browse(ctx, queue, broker.MaxBrowse, func(context.Context, broker.Letter) error {
		stop()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Browse with an ended context = %v, want context.Canceled", err)
	}
	if seen := browse(t, b, queue); !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func testBrowseInUse(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	err := browser(t, b).Browse(t.Context(), queue, broker.MaxBrowse, func(ctx context.Context, _ broker.Letter) error {
		inner := browser(t, b).Browse(ctx, queue, broker.MaxBrowse, nil)
		if !errors.Is(inner, broker.ErrInUse) {
			t.Errorf("the second Browse = %v, want broker.ErrInUse", inner)
		}
		return inner
	})
	if !errors.Is(err, broker.ErrInUse) {
		t.Errorf("Browse = %v, want broker.ErrInUse", err)
	}
	if seen := browse(t, b, queue); !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

// testBrowseConcurrently verifies that each of several readers sees all messages or is refused.
// Readers that start in the same moment may all be refused, and change the order.
func testBrowseConcurrently(t *testing.T, open Opener) {
	b, queue, want := fill(t, open)
	slices.Sort(want)
	read := func() (refused bool) {
		var seen []string
		err := browser(t, b).Browse(t.Context(), queue, broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
			seen = append(seen, string(l.Body))
			return nil
		})
		slices.Sort(seen)
		if err == nil && !slices.Equal(seen, want) || err != nil && (len(seen) > 0 || !errors.Is(err, broker.ErrInUse)) {
			t.Errorf("a reader has %d messages and %v, want all %d or broker.ErrInUse", len(seen), err, len(want))
		}
		return errors.Is(err, broker.ErrInUse)
	}
	var readers sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		readers.Go(func() {
			<-start
			read()
		})
	}
	close(start)
	readers.Wait()
	Await(t, "the last reader", func() bool { return !read() })
}

func testDeaths(t *testing.T, open Opener) {
	work := Name()
	b := open(t, work)
	quarantine, start := broker.QuarantineQueue(work), time.Now().Truncate(time.Second)
	Publish(t, b, quarantine, Text("poison"))
	crashed := errors.New("crashed")
	var found []broker.Letter
	for limit := time.After(Timeout); len(found) == 0; {
		ctx, stop := context.WithTimeout(t.Context(), quiet)
		_ = b.Consume(ctx, quarantine, 1, func(context.Context, broker.Delivery) error { return crashed })
		stop()
		err := browser(t, b).Browse(t.Context(), broker.DeadQueue(work), broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
			found = append(found, l)
			return nil
		})
		if err != nil {
			t.Fatalf("Browse = %v", err)
		}
		select {
		case <-limit:
			t.Fatal("no dead letter")
		default:
		}
	}
	if l := found[0]; string(l.Body) != "poison" || len(l.Deaths) != 1 {
		t.Fatalf("message %q with deaths %+v, want \"poison\" and 1 death", l.Body, l.Deaths)
	}
	if d := found[0].Deaths[0]; d.Queue != quarantine || d.Reason != "delivery_limit" || d.Count != 1 || d.At.Before(start) || d.At.After(time.Now()) {
		t.Errorf("death %+v, want one delivery_limit in %s now", d, quarantine)
	}
}
