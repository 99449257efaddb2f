package telemetry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

func openBroker(t *testing.T, queues ...string) *membroker.Broker {
	t.Helper()
	b := membroker.New(queues...)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestBrokerIsCounted(t *testing.T) {
	m := telemetry.NewRegistry()
	inner := openBroker(t, "q")
	b := telemetry.Broker(inner, m, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for range 2 {
		if err := b.Publish(ctx, "q", broker.Message{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(ctx, "nowhere", broker.Message{}); !errors.Is(err, broker.ErrNoRoute) {
		t.Fatal(err)
	}
	if err := b.Broadcast(ctx, "news", nil); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Expect(t, m, `broker_usable 1`)
	n := 0
	err := b.Consume(ctx, "q", 1, func(_ context.Context, d broker.Delivery) error {
		if n++; n == 2 {
			telemetrytest.Expect(t, m, `broker_consumers{queue="q"} 1`)
			stop()
		}
		return d.Ack()
	})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no room")
	if err := b.Publish(t.Context(), "q", broker.Message{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Consume(t.Context(), "q", 1, func(context.Context, broker.Delivery) error { return full }); !errors.Is(err, full) {
		t.Errorf("Consume returns %v", err)
	}
	telemetrytest.Expect(t, m,
		`broker_publishes_total{outcome="ok",queue="q"} 3`,
		`broker_publishes_total{outcome="returned",queue="nowhere"} 1`,
		`broker_confirm_duration_seconds_count 3`,
		`broker_deliveries_total{queue="q",redelivered="no"} 3`,
		`broker_consumers{queue="q"} 0`,
		`broker_broadcasts_total{outcome="ok",topic="news"} 1`,
	)
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Expect(t, m, `broker_usable 0`)
}

// unavailable is a store whose server is down.
type unavailable struct{ objectstore.Store }

func (unavailable) Get(context.Context, string) (*objectstore.Object, error) {
	return nil, objectstore.ErrUnavailable
}
func (unavailable) Ready(context.Context) error { return errors.New("connection refused") }

func TestStoreIsCounted(t *testing.T) {
	m := telemetry.NewRegistry()
	s := telemetry.Store(openStore(t), "originals", m, nil)
	ctx := t.Context()
	if err := s.Put(ctx, "id/a.jpg", objectstore.Content{Data: []byte("0123456789"), Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	if _, err := objectstore.ReadAll(ctx, s, "id/a.jpg", 10); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(ctx, "id/b.jpg"); !errors.Is(err, objectstore.ErrNotExist) {
		t.Fatal(err)
	}
	for _, err := range s.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := errors.Join(s.Delete(ctx, "id/a.jpg"), s.Ready(ctx)); err != nil {
		t.Fatal(err)
	}
	gone := telemetry.Store(unavailable{}, "processed", m, nil)
	if _, err := gone.Get(ctx, "x"); !errors.Is(err, objectstore.ErrUnavailable) {
		t.Fatal(err)
	}
	if gone.Ready(ctx) == nil {
		t.Fatal("got no error from an unavailable store")
	}
	telemetrytest.Expect(t, m,
		`objectstore_operations_total{operation="put",outcome="ok",store="originals"} 1`,
		`objectstore_operations_total{operation="get",outcome="ok",store="originals"} 1`,
		`objectstore_operations_total{operation="stat",outcome="not_found",store="originals"} 1`,
		`objectstore_operations_total{operation="list",outcome="ok",store="originals"} 1`,
		`objectstore_operations_total{operation="delete",outcome="ok",store="originals"} 1`,
		`objectstore_operations_total{operation="ready",outcome="ok",store="originals"} 1`,
		`objectstore_operations_total{operation="get",outcome="unavailable",store="processed"} 1`,
		`objectstore_operations_total{operation="ready",outcome="unavailable",store="processed"} 1`,
		`objectstore_operation_duration_seconds_count{operation="put",store="originals"} 1`,
		`objectstore_bytes_total{operation="put",store="originals"} 10`,
		`objectstore_bytes_total{operation="get",store="originals"} 10`,
	)
}
