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

// testConcurrentPut lets writers replace one object by ones of other sizes,
// while readers look, until these have seen it change.
func testConcurrentPut(t *testing.T, s objectstore.Store) {
	const key, rounds, patience, writers = "job/contended.jpg", 15, 1000, 3
	versions := make([][]byte, writers)
	for i := range versions {
		versions[i] = bytes.Repeat([]byte{byte(i + 1)}, 100_000+i*150_000)
	}
	put(t, s, key, versions[0], "image/jpeg")
	var last atomic.Int64 // size that a reader saw
	var changed atomic.Bool
	on := func(round, least int) bool { return round < least || !changed.Load() && round < patience }
	together(t, writers+3, func(ctx context.Context, i int) error {
		if i < writers {
			for round := 0; on(round, rounds); round++ {
				if err := s.Put(ctx, key, versions[i], "image/jpeg"); err != nil {
					return err
				}
			}
			return nil
		}
		for round := 0; on(round, rounds*2); round++ {
			info, err := s.Stat(ctx, key)
			if err != nil {
				return fmt.Errorf("while it is replaced: %w", err)
			}
			data, err := objectstore.ReadAll(ctx, s, key, 1<<20)
			if err != nil {
				return fmt.Errorf("while it is replaced: %w", err)
			}
			if !bytes.Equal(data, versions[data[0]-1]) {
				return fmt.Errorf("a reader saw %d bytes that nobody put", len(data))
			}
			if n := (info.Size - 100_000) / 150_000; info.Size != int64(len(versions[n])) {
				return fmt.Errorf("a reader was told of %d bytes", info.Size)
			}
			size := int64(len(data))
			if before := last.Swap(size); before != 0 && before != size {
				changed.Store(true)
			}
		}
		return nil
	})
	if !t.Failed() && !changed.Load() {
		t.Errorf("readers saw %d bytes only: the test did not test", last.Load())
	}
}

// testConcurrentDelete puts and deletes neighbours in one folder: a Delete that
// tidies the folder away must not take an object along. It may make a Put
// unavailable, as MinIO's answer of 403 does at times; then another one works.
func testConcurrentDelete(t *testing.T, s objectstore.Store) {
	together(t, 6, func(ctx context.Context, i int) error {
		key := fmt.Sprintf("folder/deep/%d", i)
		for round := range 20 {
			want := []byte(fmt.Sprint(key, round))
			err := s.Put(ctx, key, want, "text/plain")
			for try := 1; try < 5 && errors.Is(err, objectstore.ErrUnavailable); try++ {
				err = s.Put(ctx, key, want, "text/plain")
			}
			if err != nil {
				return err
			}
			got, err := objectstore.ReadAll(ctx, s, key, 1000)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%q holds %q, want %q", key, got, want)
			}
			if err := s.Delete(ctx, key); err != nil {
				return err
			}
			if _, err := s.Stat(ctx, key); !errors.Is(err, objectstore.ErrNotExist) {
				return fmt.Errorf("look for deleted %q: %w", key, err)
			}
		}
		return nil
	})
	expectKeys(t, s, "")
}

// testGetThenPut reads an object on after it was replaced. A store may make the
// Put wait for the reader, so that here the reader waits for the Put only a
// while.
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
	go func() { done <- s.Put(t.Context(), "replaced", after, "image/png") }()
	var putErr error
	waiting := true
	select {
	case putErr = <-done:
		waiting = false
	case <-time.After(2 * time.Second):
	}
	rest, err := io.ReadAll(o.Body)
	if err != nil {
		t.Errorf("read on after the Put: %v", err)
	}
	if got := append(head, rest...); !bytes.Equal(got, before) {
		t.Errorf("a Get that began before the Put gave %d bytes that are not those it began with", len(got))
	}
	if waiting {
		putErr = <-done
	}
	if putErr != nil {
		t.Fatal(putErr)
	}
	expect(t, s, "replaced", after)
}
