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

// testRetryQueues publishes to all retry queues and verifies that each message returns
// to the work queue after its delay, as a new message.
func testRetryQueues(t *testing.T, open Opener) {
	// Messages may be late on a busy machine, but never early.
	const late = 3 * time.Second
	delays := broker.RetryDelays
	if testing.Short() {
		delays = delays[:1]
	}
	queue := Name()
	b := open(t, queue)
	headers := map[string]string{"traceparent": "00-01"}
	type arrival struct {
		broker.Delivery
		at time.Time
	}
	got := make(chan arrival, len(delays))
	Start(t, b, queue, len(delays), func(_ context.Context, d broker.Delivery) error {
		got <- arrival{d, time.Now()}
		return d.Ack()
	})
	published, confirmed := map[string]time.Time{}, map[string]time.Time{}
	// Start with the longest delay, so that the order of publishing cannot explain the order of arrival.
	for _, d := range slices.Backward(delays) {
		published[d.String()] = time.Now()
		Publish(t, b, broker.RetryQueue(queue, d), broker.Message{Body: []byte(d.String()), Headers: headers})
		confirmed[d.String()] = time.Now()
	}
	for _, d := range delays {
		a := Receive(t, got, "the message delayed by "+d.String())
		if string(a.Body) != d.String() {
			t.Fatalf("got %q, want %q", a.Body, d)
		}
		// The broker's delays have a resolution of 1 ms.
		if soonest := published[d.String()].Add(d - time.Millisecond); a.at.Before(soonest) {
			t.Errorf("%s: arrived %s early", d, soonest.Sub(a.at))
		}
		if latest := confirmed[d.String()].Add(d + late); a.at.After(latest) {
			t.Errorf("%s: arrived %s late", d, a.at.Sub(latest.Add(-late)))
		}
		if a.Redelivered || !maps.Equal(a.Headers, headers) {
			t.Errorf("%s: redelivered %v, headers %v; want the message as published", d, a.Redelivered, a.Headers)
		}
	}
	ExpectNone(t, got, "a delayed message was delivered twice")
}

// testRetryAgain sends a message through a retry queue several times: a broker that
// records a message's path must not mistake this for a loop and drop the message.
func testRetryAgain(t *testing.T, open Opener) {
	const rounds = 3
	queue := Name()
	b := open(t, queue)
	got := make(chan string, rounds+1)
	Start(t, b, queue, 1, func(ctx context.Context, d broker.Delivery) error {
		got <- string(d.Body)
		if len(d.Body) < rounds {
			m := d.Message
			m.Body = append(slices.Clone(d.Body), '.')
			if err := b.Publish(ctx, broker.RetryQueue(queue, broker.RetryDelays[0]), m); err != nil {
				return err
			}
		}
		return d.Ack()
	})
	Publish(t, b, queue, Text("."))
	for i := range rounds {
		if body := Receive(t, got, "the next round"); len(body) != i+1 {
			t.Fatalf("round %d: got %q, want length %v", i+1, body, i+1)
		}
	}
}

// testDeliveryLimit lets one message crash its consumer until the broker makes it a
// dead letter, and verifies that it is on both queues for dead letters.
func testDeliveryLimit(t *testing.T, open Opener) {
	queue := Name()
	b := open(t, queue)
	quarantine := broker.QuarantineQueue(queue)
	poison := Name()
	Publish(t, b, quarantine, broker.Message{Body: []byte(poison), Headers: map[string]string{"traceparent": "00-02"}})
	dead := make(chan broker.Delivery, 4)
	Start(t, b, broker.DeadQueue(queue), 2, Into(dead))
	results := make(chan broker.Delivery, 64)
	Start(t, b, broker.DeadResults, 64, func(_ context.Context, d broker.Delivery) error {
		// The queue is shared with other tests, whose messages are not acked.
		if string(d.Body) == poison {
			results <- d
		}
		return nil
	})

	crashed := errors.New("crashed")
	deliveries := make(chan broker.Delivery, 1)
	count := 0
	var deadLetter broker.Delivery
	for deadLetter.Ack == nil {
		c := Start(t, b, quarantine, 1, func(_ context.Context, d broker.Delivery) error {
			deliveries <- d
			return crashed
		})
		select {
		case d := <-deliveries:
			count++
			if d.Redelivered != (count > 1) {
				t.Errorf("delivery %d: redelivered %v, want %v", count, d.Redelivered, (count > 1))
			}
			if err := c.Wait(t); !errors.Is(err, crashed) {
				t.Fatalf("Consume = %v, want %v", err, crashed)
			}
		case deadLetter = <-dead:
			if err := c.Stop(t); err != nil {
				t.Errorf("Consume = %v", err)
			}
		case <-time.After(Timeout):
			t.Fatalf("no dead letter after %d deliveries", count)
		}
		if count > broker.QuarantineDeliveryLimit+1 {
			t.Fatalf("delivered %d times with a limit of %d", count, broker.QuarantineDeliveryLimit)
		}
	}
	if count < broker.QuarantineDeliveryLimit {
		t.Errorf("a dead letter after %d deliveries with a limit of %d", count, broker.QuarantineDeliveryLimit)
	}
	result := Receive(t, results, "the copy in "+broker.DeadResults)
	for _, d := range []broker.Delivery{deadLetter, result} {
		if string(d.Body) != poison || d.Headers["traceparent"] != "00-02" || len(d.Headers) != 1 {
			t.Errorf("dead letter %q with headers %v, want %q with traceparent 00-02", d.Body, d.Headers, poison)
		}
		Ack(t, d)
	}
}
