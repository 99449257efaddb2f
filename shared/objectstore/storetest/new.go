package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// testPutNew verifies that the first of several concurrent calls stores its data, that the others
// leave it, and that a deleted object can be stored again.
func testPutNew(t *testing.T, s objectstore.Store) {
	const key, writers = "captions/contended.json", 6
	for round := range 3 {
		var won atomic.Int64
		together(t, writers, func(ctx context.Context, i int) error {
			err := s.PutNew(ctx, key, bytes.Repeat([]byte{byte(i + 1)}, 5_000), "application/json")
			switch {
			case err == nil:
				if before := won.Swap(int64(i + 1)); before != 0 {
					return fmt.Errorf("PutNew stores the data of writers %d and %d, want one", before, i+1)
				}
			case !errors.Is(err, objectstore.ErrExists):
				return fmt.Errorf("PutNew returns %w, want ErrExists", err)
			}
			return nil
		})
		if won.Load() == 0 {
			t.Fatalf("round %d: no PutNew has stored its data", round)
		}
		expect(t, s, key, bytes.Repeat([]byte{byte(won.Load())}, 5_000))
		if err := s.PutNew(t.Context(), key, []byte("late"), "text/plain"); !errors.Is(err, objectstore.ErrExists) {
			t.Errorf("PutNew of an object that exists returns %v, want ErrExists", err)
		}
		if info, err := s.Stat(t.Context(), key); err != nil || info.ContentType != "application/json" {
			t.Errorf("Stat returns %+v and error %v, want the content type that was stored", info, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutNew(t.Context(), "job/new.bin", []byte("x"), "text/plain"); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Stat(t.Context(), "job/new.bin"); err != nil || info.ContentType != "text/plain" {
		t.Errorf("Stat returns %+v and error %v, want the content type of PutNew", info, err)
	}
}
