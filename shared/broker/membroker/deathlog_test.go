package membroker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/brokertest"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
)

// image returns a message as a stage sends it: with the same trace ID and another span
// ID in its traceparent each time.
func image(name string) broker.Message {
	traceparent := "00-" + strings.ReplaceAll(name, " ", "") + "-" + rand.Text() + "-01"
	return broker.Message{Body: []byte(name), Headers: map[string]string{"traceparent": traceparent}}
}

// reopen opens a Broker as the process after the one that left the folder.
func reopen(t *testing.T, dir string) *membroker.Broker {
	t.Helper()
	b, err := membroker.Open(dir, "q")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return b
}

// die returns a copy of the folder as a killed process leaves it.
func die(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// hold receives count messages and keeps them in flight for the rest of the test.
func hold(t *testing.T, b broker.Broker, queue string, prefetch, count int) []broker.Delivery {
	t.Helper()
	got := make(chan broker.Delivery, count)
	brokertest.Start(t, b, queue, prefetch, brokertest.Into(got))
	var list []broker.Delivery
	for range count {
		list = append(list, brokertest.Receive(t, got, "a message of "+queue))
	}
	return list
}

// TestDeathIsRecorded verifies that a message that was in flight when the process died
// is marked as redelivered when it is sent again, and that acked and new messages are
// not.
func TestDeathIsRecorded(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir)
	for _, name := range []string{"acked", "in flight"} {
		brokertest.Publish(t, b, "q", image(name))
	}
	for _, d := range hold(t, b, "q", 2, 2) {
		if string(d.Body) == "acked" {
			if err := d.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := reopen(t, die(t, dir))
	for _, name := range []string{"acked", "in flight", "new"} {
		brokertest.Publish(t, again, "q", image(name))
	}
	for _, d := range hold(t, again, "q", 3, 3) {
		if want := string(d.Body) == "in flight"; d.Redelivered != want {
			t.Errorf("%s: redelivered %t, want %t", d.Body, d.Redelivered, want)
		}
	}
}

// TestKillerBecomesDeadLetter sends a message again to each process that it kills, as
// an open image is sent. It becomes a dead letter after QuarantineDeliveryLimit more
// deaths, on the work queue or the quarantine queue.
func TestKillerBecomesDeadLetter(t *testing.T) {
	dir := t.TempDir()
	deaths := 0
	for ; ; deaths++ {
		b := reopen(t, dir)
		brokertest.Publish(t, b, broker.QuarantineQueue("q"), image("killer"))
		if b.Len(broker.DeadQueue("q")) > 0 {
			if b.Len(broker.DeadResults) != 1 || b.Len(broker.QuarantineQueue("q")) != 0 {
				t.Error("the dead letter is not on both dead-letter queues only")
			}
			break
		}
		if deaths > broker.WorkDeliveryLimit {
			t.Fatal("the message never became a dead letter")
		}
		hold(t, b, broker.QuarantineQueue("q"), 1, 1)
		dir = die(t, dir)
	}
	if deaths != broker.QuarantineDeliveryLimit+1 {
		t.Errorf("it killed %d processes from the quarantine queue, want %d", deaths, broker.QuarantineDeliveryLimit+1)
	}
	b := reopen(t, dir)
	brokertest.Publish(t, b, "q", image("killer"))
	if d := hold(t, b, "q", 1, 1)[0]; !d.Redelivered {
		t.Error("the message on the work queue is not marked as redelivered")
	}
}

// TestOrderlyEndIsNoDeath verifies that messages that a stopped consumer returns to the
// queue do not count as deaths.
func TestOrderlyEndIsNoDeath(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir)
	brokertest.Publish(t, b, "q", image("returned"))
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.Consume(ctx, "q", 1, func(context.Context, broker.Delivery) error {
		cancel()
		return nil
	}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again := reopen(t, die(t, dir))
	brokertest.Publish(t, again, "q", image("returned"))
	if d := hold(t, again, "q", 1, 1)[0]; d.Redelivered {
		t.Error("the message is marked as redelivered")
	}
}

// TestOldDeathsExpire verifies that files of messages that are never sent again are
// removed.
func TestOldDeathsExpire(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("+"), 0o600); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	reopen(t, dir)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file: %v, want os.ErrNotExist", err)
	}
}
