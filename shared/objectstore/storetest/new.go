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
	const writers = 6
	for round := range 3 {
		key := fmt.Sprintf("captions/contended-%d.json", round)
		var won atomic.Int64
		together(t, writers, func(ctx context.Context, i int) error {
			err := s.PutNew(ctx, key, objectstore.Content{Data: bytes.Repeat([]byte{byte(i + 1)}, 5_000), Type: "application/json"})
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
		got, err := objectstore.ReadAll(t.Context(), s, key, 1<<20)
		if err != nil || len(got) != 5_000 {
			t.Fatalf("round %d: %d bytes are stored, error %v; want the data of one writer", round, len(got), err)
		}
		// Without a winner, the response to the request that stored the data was lost.
		if by := int64(got[0]); won.Load() != 0 && won.Load() != by || by < 1 || by > writers || !bytes.Equal(got, bytes.Repeat(got[:1], 5_000)) {
			t.Errorf("round %d: the data of writer %d is stored, but writer %d has succeeded", round, by, won.Load())
		}
		if err := s.PutNew(t.Context(), key, objectstore.Content{Data: []byte("late"), Type: "text/plain"}); !errors.Is(err, objectstore.ErrExists) {
			t.Errorf("PutNew of an object that exists returns %v, want ErrExists", err)
		}
		if info, err := s.Stat(t.Context(), key); err != nil || info.ContentType != "application/json" {
			t.Errorf("Stat returns %+v and error %v, want the content type that was stored", info, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := s.PutNew(t.Context(), key, objectstore.Content{Data: []byte("again"), Type: "text/plain"}); err != nil {
			t.Errorf("PutNew of a deleted object returns %v", err)
		}
		expect(t, s, key, []byte("again"))
	}
	if err := s.PutNew(t.Context(), "job/new.bin", objectstore.Content{Data: []byte("x"), Type: "text/plain"}); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Stat(t.Context(), "job/new.bin"); err != nil || info.ContentType != "text/plain" {
		t.Errorf("Stat returns %+v and error %v, want the content type of PutNew", info, err)
	}
}
