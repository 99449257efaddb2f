package intake

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// ahead opens a batch that stores ahead, with room for the bytes.
func (r *rig) ahead(bytes int64) *Batch {
	b := r.intake("gateway-1", r.broker).Begin()
	b.Ahead(func(n int64) error {
		if bytes -= n; bytes < 0 {
			bytes += n
			return errors.New("no room")
		}
		return nil
	})
	return b
}

// TestOriginalsAreStoredAhead verifies that the store gets the next images while it still works on one, but no more than the
// bound, and that each image keeps its own bytes.
func TestOriginalsAreStoredAhead(t *testing.T) {
	r := setup(t)
	var busy, most atomic.Int32
	full := make(chan struct{})
	r.originals.fail(func(string, string) error {
		n := busy.Add(1)
		defer busy.Add(-1)
		most.Store(max(most.Load(), n))
		if n == maxAhead && most.Load() == n {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		select {
		case <-full:
			return nil
		case <-time.After(20 * time.Second):
			return errors.New("the store never gets several images at once")
		}
	})
	b := r.ahead(1 << 20)
	data := make([]byte, 0, 1<<16)
	for i := range 3 * maxAhead {
		data = append(data[:0], jpegBytes(i)...) // as the reader of a request does
		if err := b.Add(t.Context(), Source{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	j, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n != maxAhead {
		t.Errorf("the store had %d images at once, want %d", n, maxAhead)
	}
	r.originals.fail(nil)
	for i, img := range j.Images {
		got, err := objectstore.ReadAll(t.Context(), r.originals, img.Original.Path, 1<<20)
		if err != nil || string(got) != string(jpegBytes(i)) {
			t.Errorf("original of image %d: %d bytes, %v, want its own", i, len(got), err)
		}
	}
}

// TestWithoutRoomNothingIsStoredAhead verifies that an image for which there is no memory is durable when Add returns.
func TestWithoutRoomNothingIsStoredAhead(t *testing.T) {
	r := setup(t)
	b := r.ahead(0)
	for i := range 3 {
		if err := b.Add(t.Context(), Source{Data: jpegBytes(i)}); err != nil {
			t.Fatal(err)
		}
		if n := len(r.keys(r.originals)); n != i+1 {
			t.Fatalf("%d originals stored after %d images", n, i+1)
		}
	}
	if _, err := b.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOutageWhileStoringAhead verifies that an outage fails the request, at the next image or at the commit, and that nothing
// is left.
func TestOutageWhileStoringAhead(t *testing.T) {
	r := setup(t)
	b := r.ahead(1 << 20)
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	r.originals.fail(func(method, _ string) error {
		if method == "Put" {
			return objectstore.ErrUnavailable
		}
		return nil
	})
	if err := b.Add(t.Context(), Source{Data: jpegBytes(1)}); err != nil && !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Add = %v, want nil or objectstore.ErrUnavailable", err)
	}
	if _, err := b.Commit(t.Context()); !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Commit = %v, want objectstore.ErrUnavailable", err)
	}
	if err := b.Add(t.Context(), Source{Data: jpegBytes(2)}); !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("Add after the outage = %v, want objectstore.ErrUnavailable", err)
	}
	b.Abort(t.Context())
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("left %v, want none", keys)
	}
	r.clearAgain(b.in)
	r.wantNoReservation(b.ID())
}

// TestPanicWhileStoringAhead verifies that a panic of the store fails the request and nothing else.
func TestPanicWhileStoringAhead(t *testing.T) {
	r := setup(t)
	b := r.ahead(1 << 20)
	r.originals.fail(func(method, _ string) error {
		if method == "Put" {
			panic("a fault of the store")
		}
		return nil
	})
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "a fault of the store") {
		t.Errorf("Commit = %v, want the panic", err)
	}
	b.Abort(t.Context())
	r.clearAgain(b.in)
	r.wantNoReservation(b.ID())
}

// TestAbortEndsStoresAhead verifies that an abort does not wait for a store that does not respond, and leaves nothing.
func TestAbortEndsStoresAhead(t *testing.T) {
	r := setup(t)
	b := r.ahead(1 << 20)
	begun := make(chan struct{})
	r.originals.hang(begun)
	if err := b.Add(t.Context(), Source{Data: jpegBytes(0)}); err != nil {
		t.Fatal(err)
	}
	<-begun
	aborted := make(chan struct{})
	go func() {
		defer close(aborted)
		b.Abort(context.WithoutCancel(t.Context()))
	}()
	select {
	case <-aborted:
	case <-time.After(20 * time.Second):
		t.Fatal("the abort waits for the store")
	}
	if keys := r.keys(r.originals); len(keys) != 0 {
		t.Errorf("left %v, want none", keys)
	}
	r.clearAgain(b.in)
	r.wantNoReservation(b.ID())
}
