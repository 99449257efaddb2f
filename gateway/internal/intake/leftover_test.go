package intake

import (
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// TestReservationOutlivesItsGateway verifies that a reservation exists for as long as its
// objects, because a gateway that dies during a storage outage leaves no other record of
// them.
func TestReservationOutlivesItsGateway(t *testing.T) {
	r := setup(t)
	b := r.intake("gateway-1", r.broker).Begin()
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	r.originals.fail(func(string, string) error { return objectstore.ErrUnavailable })
	b.Abort(t.Context())
	r.originals.fail(nil)

	// Only the stored data is left of the first gateway.
	r.now = func() time.Time { return time.Now().Add(time.Minute) }
	second := r.intake("gateway-2", r.broker)
	if n, err := second.claim(t.Context()); n != 1 || err != nil {
		t.Fatalf("claimed %d, %v; want the reservation", n, err)
	}
	second.clearLeftovers(t.Context(), r.now())
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("left %v, want none", keys)
	}
	r.wantNoReservation(b.ID())
}
