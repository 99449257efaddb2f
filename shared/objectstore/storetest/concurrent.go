package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// testConcurrentPut lets writers replace one object by objects of other sizes while
// readers read it, until a reader has seen it change.
func testConcurrentPut(t *testing.T, s objectstore.Store) {
	const key, rounds, maxRounds, writers = "job/contended.jpg", 15, 1000, 3
	versions := make([][]byte, writers)
	for i := range versions {
		versions[i] = bytes.Repeat([]byte{byte(i + 1)}, 100_000+i*150_000)
	}
	put(t, s, key, versions[0], "image/jpeg")
	var last atomic.Int64 // last size that a reader saw
	var changed atomic.Bool
	more := func(round, least int) bool { return round < least || !changed.Load() && round < maxRounds }
	together(t, writers+3, func(ctx context.Context, i int) error {
		if i < writers {
			for round := 0; more(round, rounds); round++ {
				if err := s.Put(ctx, key, objectstore.Content{Data: versions[i], Type: "image/jpeg"}); err != nil {
					return err
				}
			}
			return nil
		}
		for round := 0; more(round, rounds*2); round++ {
			info, err := s.Stat(ctx, key)
			if err != nil {
				return fmt.Errorf("read while it is replaced: %w", err)
			}
			data, err := objectstore.ReadAll(ctx, s, key, 1<<20)
			if err != nil {
				return fmt.Errorf("read while it is replaced: %w", err)
			}
			if !bytes.Equal(data, versions[data[0]-1]) {
				return fmt.Errorf("a reader got %d bytes that no writer put", len(data))
			}
			if n := (info.Size - 100_000) / 150_000; info.Size != int64(len(versions[n])) {
				return fmt.Errorf("stat returned a size of %d bytes that no writer put", info.Size)
			}
			size := int64(len(data))
			if before := last.Swap(size); before != 0 && before != size {
				changed.Store(true)
			}
		}
		return nil
	})
	if !t.Failed() && !changed.Load() {
		t.Errorf("readers only saw %d bytes, so the test is not conclusive", last.Load())
	}
}

// testConcurrentDelete puts and deletes several objects in one folder: a Delete that
// removes the empty folder must not remove an object. It may make a Put unavailable, as
// MinIO's occasional 403 does, but then another Put succeeds.
func testConcurrentDelete(t *testing.T, s objectstore.Store) {
	together(t, 6, func(ctx context.Context, i int) error {
		key := fmt.Sprintf("folder/deep/%d", i)
		for round := range 20 {
			want := []byte(fmt.Sprint(key, round))
			err := s.Put(ctx, key, objectstore.Content{Data: want, Type: "text/plain"})
			for try := 1; try < 5 && errors.Is(err, objectstore.ErrUnavailable); try++ {
				err = s.Put(ctx, key, objectstore.Content{Data: want, Type: "text/plain"})
			}
			if err != nil {
				return err
			}
			got, err := objectstore.ReadAll(ctx, s, key, 1000)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%q has %q, want %q", key, got, want)
			}
			if err := s.Delete(ctx, key); err != nil {
				return err
			}
			if _, err := s.Stat(ctx, key); !errors.Is(err, objectstore.ErrNotExist) {
				return fmt.Errorf("stat deleted %q: %w", key, err)
			}
		}
		return nil
	})
	expectKeys(t, s, "")
}

// testGetThenPut continues to read an object after it was replaced. A store may make
// the Put wait for the reader, so the reader waits for the Put only for a limited time.
func testGetThenPut(t *testing.T, s objectstore.Store) {
	before, after := bytesOf(6<<20), bytesOf(6<<20+1)
	put(t, s, "replaced", before, "image/png")
	o, err := s.Get(t.Context(), "replaced")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(o.Body, head); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), "replaced", objectstore.Content{Data: after, Type: "image/png"}) }()
	var putErr error
	waiting := true
	select {
	case putErr = <-done:
		waiting = false
	case <-time.After(2 * time.Second):
	}
	rest, err := io.ReadAll(o.Body)
	if err != nil {
		t.Errorf("continue to read after the Put: %v", err)
	}
	if got := append(head, rest...); !bytes.Equal(got, before) {
		t.Errorf("a Get that started before the Put returned %d bytes that differ from the old object", len(got))
	}
	if waiting {
		putErr = <-done
	}
	if putErr != nil {
		t.Fatal(putErr)
	}
	expect(t, s, "replaced", after)
}
