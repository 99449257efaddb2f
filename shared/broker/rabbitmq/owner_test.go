package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// TestTwoOwners verifies that only the first of two job stores uses the broker, until the
// second one takes it over: then the first one returns its messages and stops.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	q := brokertest.Name()
	config := rabbitmq.Config{URLs: []string{serverURL(t)}, Declare: true, WorkQueues: []string{q}}
	const first, second = "1111aaaa2222bbbb", "3333cccc4444dddd"
	t.Cleanup(func() { _, _ = admin(t).QueueDelete(broker.OwnerQueue, false, false, false) })
	start := func(owner string) (*rabbitmq.Broker, chan bool) {
		b, hooked := openWith(t, config), make(chan bool, 8)
		b.OnSession("marker-"+q+owner, owner, func(_ context.Context, fresh bool) error {
			hooked <- fresh
			return nil
		})
		t.Cleanup(func() { _, _ = admin(t).QueueDelete("marker-"+q+owner, false, false, false) })
		return b, hooked
	}

	a, hookedA := start(first)
	if !brokertest.Receive(t, hookedA, "the first store's hook") {
		t.Error("the broker of the first store was not fresh")
	}
	b, hookedB := start(second)
	brokertest.Await(t, "the second store is told whose broker it is", func() bool {
		err := b.Ready()
		return err != nil && strings.Contains(err.Error(), "belongs to the job store 1111aaaa2222, not to ours, which is 3333cccc4444")
	})
	gotA, gotB := make(chan broker.Delivery, 8), make(chan broker.Delivery, 8)
	brokertest.Start(t, b, q, 1, brokertest.Into(gotB))
	if err := b.Publish(t.Context(), q, brokertest.Text("from the second store")); !errors.Is(err, broker.ErrUnavailable) || !strings.Contains(err.Error(), "1111aaaa2222") {
		t.Errorf("Publish of the second store = %v, want ErrUnavailable and the owner", err)
	}
	brokertest.Publish(t, a, q, brokertest.Text("1"))
	brokertest.ExpectNone(t, gotB, "the second store consumed a message of the first one")
	brokertest.Start(t, a, q, 1, brokertest.Into(gotA))
	if d := brokertest.Receive(t, gotA, "the first store's message"); string(d.Body) != "1" {
		t.Errorf("the first store got %q, want its own message", d.Body)
	}
	brokertest.ExpectNone(t, hookedB, "the hook of the second store ran")

	// The second store takes over while the message is in flight at the first one. The first
	// try is interrupted and leaves the broker to no store.
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := b.TakeOver(short, second, "marker-"+q+second); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("TakeOver = %v, want the error of its context", err)
	}
	for _, store := range []*rabbitmq.Broker{a, b} {
		brokertest.Await(t, "both stores are told of the take-over", func() bool {
			err := store.Ready()
			return err != nil && strings.Contains(err.Error(), "the job store 3333cccc4444 is taking over this broker") && strings.Contains(err.Error(), "run it again")
		})
	}
	if _, err := b.TakeOver(t.Context(), second, "marker-"+q+second); err != nil {
		t.Fatalf("TakeOver again = %v", err)
	}
	if !brokertest.Receive(t, hookedB, "the second store's hook") {
		t.Error("the broker that was taken over was not fresh")
	}
	if d := brokertest.Receive(t, gotB, "the message that the first store returned"); string(d.Body) != "1" || !d.Redelivered {
		t.Errorf("the second store got %q, redelivered %v, want the first store's message again", d.Body, d.Redelivered)
	}
	brokertest.Await(t, "the first store is told whose broker it is", func() bool {
		err := a.Ready()
		return err != nil && strings.Contains(err.Error(), "belongs to the job store 3333cccc4444")
	})
	brokertest.Await(t, "the second store is ready", func() bool { return b.Ready() == nil })

	// The first store takes it back: its marker still existed, but counts as lost.
	if previous, err := a.TakeOver(t.Context(), first, "marker-"+q+first); err != nil || previous != "3333cccc4444" {
		t.Fatalf("TakeOver = %q, %v, want the second store", previous, err)
	}
	if !brokertest.Receive(t, hookedA, "the first store's hook") {
		t.Error("the broker that was taken back was not fresh")
	}
	if previous, err := a.TakeOver(t.Context(), first, "marker-"+q+first); err != nil || previous != "" {
		t.Errorf("TakeOver of one's own broker = %q, %v, want nothing", previous, err)
	}
}

// TestMark verifies that a store's mark shows the first digits of its ID.
func TestMark(t *testing.T) {
	for id, want := range map[string]string{
		"1111aaaa2222bbbb":                 "1111aaaa2222",
		"d41d8cd98f00b204e9800998ecf8427e": "d41d8cd98f00",
		"000000000001ffff":                 "000000000001",
		"named by hand":                    "20e8da693bfe",
		"short":                            "f9b0078b5df5",
	} {
		if got := fmt.Sprintf("%012x", rabbitmq.Mark(id)); got != want {
			t.Errorf("mark of %q is %s, want %s", id, got, want)
		}
	}
}
