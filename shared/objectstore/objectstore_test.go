package objectstore_test

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
)

func TestReadAll(t *testing.T) {
	s, err := dirstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(t.Context(), "id/a.jpg", objectstore.Content{Data: []byte("0123456789"), Type: "image/jpeg"}); err != nil {
		t.Fatal(err)
	}
	if data, err := objectstore.ReadAll(t.Context(), s, "id/a.jpg", 10); err != nil || string(data) != "0123456789" {
		t.Errorf("ReadAll = %q, %v", data, err)
	}
	_, err = objectstore.ReadAll(t.Context(), s, "id/a.jpg", 9)
	if err == nil || errors.Is(err, objectstore.ErrUnavailable) || errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("ReadAll beyond the limit = %v", err)
	}
	if _, err := objectstore.ReadAll(t.Context(), s, "id/b.jpg", 9); !errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("ReadAll of a missing object = %v, want ErrNotExist", err)
	}
}

// FuzzCheckKey verifies what stores rely on: a valid key is text, is its own shortest
// path, stays below any folder, and has only valid prefixes.
func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{
		"4bf92f3577b34da6a3ce929d0e0e4736/photo.jpg", "a", "...", "..a/b..", "", "/", "a//b", "a/", "/a", ".", "..", "a/../b",
		"a\x00", "\xff", "é/写", strings.Repeat("x", 256), strings.Repeat("a/", 256), "a\\b", "c:\\x",
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if objectstore.CheckKey(key) != nil {
			return
		}
		if !utf8.ValidString(key) || len(key) > objectstore.MaxKeyBytes || strings.ContainsAny(key, "\x00\r\n") {
			t.Errorf("%q is valid but not text of at most %d bytes", key, objectstore.MaxKeyBytes)
		}
		if path.Clean(key) != key || !filepath.IsLocal(key) {
			t.Errorf("%q is valid but not a plain path", key)
		}
		for end := range key {
			if err := objectstore.CheckPrefix(key[:end]); err != nil {
				t.Errorf("%q is valid but its prefix is not: %v", key, err)
			}
		}
	})
}
