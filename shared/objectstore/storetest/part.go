package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// etagOf returns the object's ETag, which Stat and Get must agree on.
func etagOf(t *testing.T, s objectstore.Store, key string) string {
	t.Helper()
	info, err := s.Stat(t.Context(), key)
	if err != nil {
		t.Fatalf("Stat(%q): %v", key, err)
	}
	o, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	defer o.Body.Close()
	if info.ETag != o.ETag || info.ETag == "" {
		t.Fatalf("%q has the ETag %q for Stat and %q for Get, want the same and not empty", key, info.ETag, o.ETag)
	}
	return info.ETag
}

// testETag replaces an object quickly by others of the same size.
func testETag(t *testing.T, s objectstore.Store) {
	const key, rounds = "job/same size.jpg", 30
	contents := map[string]string{} // content by ETag
	for round := range rounds {
		content := fmt.Sprintf("content %02d", round)
		put(t, s, key, []byte(content), "image/jpeg")
		etag := etagOf(t, s, key)
		if etag != etagOf(t, s, key) {
			t.Errorf("the ETag changed, but the object did not")
		}
		if other, used := contents[etag]; used {
			t.Errorf("%q and %q have the same ETag %q", other, content, etag)
		}
		contents[etag] = content
	}
}

func testParts(t *testing.T, s objectstore.Store) {
	const key, size = "job/photo.jpg", 300_000
	data := bytesOf(size)
	put(t, s, key, data, "image/jpeg")
	etag := etagOf(t, s, key)
	for _, p := range []struct{ offset, length int64 }{
		{0, 1}, {0, 1000}, {1, 1}, {4095, 2}, {100_000, 100_000}, {size - 1, 1}, {size - 1000, 1000}, {0, size},
	} {
		o, err := s.GetPart(t.Context(), key, etag, p.offset, p.length)
		if err != nil {
			t.Errorf("GetPart of %d bytes from %d: %v", p.length, p.offset, err)
			continue
		}
		got, err := io.ReadAll(o.Body)
		if err := errors.Join(err, o.Body.Close()); err != nil || !bytes.Equal(got, data[p.offset:p.offset+p.length]) {
			t.Errorf("GetPart of %d bytes from %d returns %d other bytes and error %v", p.length, p.offset, len(got), err)
		}
		if o.Key != key || o.Size != p.length || o.ContentType != "image/jpeg" || o.ETag != etag {
			t.Errorf("GetPart of %d bytes from %d describes %+v", p.length, p.offset, o.Info)
		}
	}
	for name, p := range map[string]struct {
		etag           string
		offset, length int64
	}{
		"nothing": {etag, 0, 0}, "a negative length": {etag, 10, -1}, "a negative offset": {etag, -1, 10}, "no ETag": {"", 0, 10},
		"the byte after the last": {etag, size, 1}, "more than there is": {etag, size - 10, 11}, "far away": {etag, 1 << 40, 1}, "an overflow": {etag, 1 << 62, 1 << 62},
	} {
		o, err := s.GetPart(t.Context(), key, p.etag, p.offset, p.length)
		if err == nil {
			o.Body.Close()
		}
		if err == nil || errors.Is(err, objectstore.ErrNotExist) || errors.Is(err, objectstore.ErrChanged) || errors.Is(err, objectstore.ErrUnavailable) {
			t.Errorf("GetPart of %s returns %v, want an argument error", name, err)
		}
	}
}

// testChangedParts verifies that the parts of one object are never mixed with those of
// the object that replaces it.
func testChangedParts(t *testing.T, s objectstore.Store) {
	const key, size = "job/changing.jpg", 6 << 20
	before := bytesOf(size)
	put(t, s, key, before, "image/jpeg")
	etag := etagOf(t, s, key)
	early, err := s.GetPart(t.Context(), key, etag, 1000, size-1000)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Body.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(early.Body, head); err != nil {
		t.Fatal(err)
	}
	// A store may make the Put wait for the reader.
	done := make(chan error, 1)
	go func() {
		done <- s.Put(t.Context(), key, objectstore.Content{Data: bytes.Repeat([]byte("x"), size), Type: "image/jpeg"})
	}()
	rest, err := io.ReadAll(early.Body)
	if err != nil || !bytes.Equal(append(head, rest...), before[1000:]) {
		t.Errorf("a part that was opened before the Put returns %d other bytes, %v", len(head)+len(rest), err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	expectError := func(key, etag string, want error) {
		t.Helper()
		o, err := s.GetPart(t.Context(), key, etag, 0, 10)
		if err == nil {
			o.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("GetPart(%q) returns %v, want %v", key, err, want)
		}
	}
	expectError(key, etag, objectstore.ErrChanged)
	expectError(key, "never", objectstore.ErrChanged)
	now := etagOf(t, s, key)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	expectError(key, now, objectstore.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GetPart(ctx, key, now, 0, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("GetPart with a cancelled context returns %v, want context.Canceled", err)
	}
}
