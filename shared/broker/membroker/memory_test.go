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

// image is a message as a stage sends it: known again by the trace in its
// traceparent, with another span in it each time.
func image(name string) broker.Message {
	traceparent := "00-" + strings.ReplaceAll(name, " ", "") + "-" + rand.Text() + "-01"
	return broker.Message{Body: []byte(name), Headers: map[string]string{"traceparent": traceparent}}
}

// reopen is a process that starts on what one before it has left in the folder.
// Its own death is the copy that the next one starts on: what stays of a killed
// process is its files as they are.
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

// die is the folder as it stands at the death of the process that has it.
func die(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// hold takes a message and keeps it in hand for the rest of the test.
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

// TestDeathIsRemembered holds that a message which was in hand when the process
// died comes marked when it is sent again, and others do not: neither one that was
// acked nor a new one.
func TestDeathIsRemembered(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir)
	for _, name := range []string{"acked", "in hand"} {
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
	for _, name := range []string{"acked", "in hand", "new"} {
		brokertest.Publish(t, again, "q", image(name))
	}
	for _, d := range hold(t, again, "q", 3, 3) {
		if want := string(d.Body) == "in hand"; d.Redelivered != want {
			t.Errorf("%s comes redelivered %t, want %t", d.Body, d.Redelivered, want)
		}
	}
}

// TestKillerIsGivenUp lets a message kill process after process, each of which is
// sent it anew, as an image whose job is open is: it becomes a dead letter after
// QuarantineDeliveryLimit more deaths, whether or not it came by the work queue.
func TestKillerIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	deaths := 0
	for ; ; deaths++ {
		b := reopen(t, dir)
		brokertest.Publish(t, b, broker.QuarantineQueue("q"), image("killer"))
		if b.Len(broker.DeadQueue("q")) > 0 {
			if b.Len(broker.DeadResults) != 1 || b.Len(broker.QuarantineQueue("q")) != 0 {
				t.Error("a dead letter is not where dead letters are")
			}
			break
		}
		if deaths > broker.WorkDeliveryLimit {
			t.Fatal("it is never given up")
		}
		hold(t, b, broker.QuarantineQueue("q"), 1, 1)
		dir = die(t, dir)
	}
	if deaths != broker.QuarantineDeliveryLimit+1 {
		t.Errorf("it has killed %d times as a suspect, want %d", deaths, broker.QuarantineDeliveryLimit+1)
	}
	b := reopen(t, dir)
	brokertest.Publish(t, b, "q", image("killer"))
	if d := hold(t, b, "q", 1, 1)[0]; !d.Redelivered {
		t.Error("a known suspect comes by the work queue as if nothing had been")
	}
}

// TestOrderlyEndIsNoDeath holds that what is given back by a consumer that ends,
// as at every stop, is nobody's death.
func TestOrderlyEndIsNoDeath(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir)
	brokertest.Publish(t, b, "q", image("given back"))
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.Consume(ctx, "q", 1, func(context.Context, broker.Delivery) error {
		cancel()
		return nil
	}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	again := reopen(t, die(t, dir))
	brokertest.Publish(t, again, "q", image("given back"))
	if d := hold(t, again, "q", 1, 1)[0]; d.Redelivered {
		t.Error("it comes as redelivered")
	}
}

// TestOldDeathsAreForgotten bounds what stays of images that nobody sends again.
func TestOldDeathsAreForgotten(t *testing.T) {
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
		t.Errorf("it is still there: %v, want os.ErrNotExist", err)
	}
}
