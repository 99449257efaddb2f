// Package storetest is the contract test suite for implementations of
// objectstore.Store. It tests the contract of package objectstore, and no features of a
// single store.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Run runs the suite, its cases in parallel. Each call of open returns an empty Store,
// which open closes and empties at the end of the test.
func Run(t *testing.T, open func(t *testing.T) objectstore.Store) {
	RunWithVersions(t, open)
	t.Run("a folder is no object, but may become one, and vice versa", func(t *testing.T) {
		t.Parallel()
		testFolder(t, open(t))
	})
}

// RunWithVersions is Run for a bucket that keeps the versions of its objects. There, MinIO
// does not list an object whose folder was an object, and versitygw 1.8.0 cannot delete the
// missing object of a folder's name. Neither happens to the keys of images.
func RunWithVersions(t *testing.T, open func(t *testing.T) objectstore.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s objectstore.Store)
	}{
		{"Get returns an object as it was put", testRoundTrip},
		{"a later Put replaces the object", testOverwrite},
		{"PutNew never replaces an object", testPutNew},
		{"an object that was never put does not exist", testAbsent},
		{"Delete removes one object only", testDelete},
		{"unusual keys are distinct", testOddKeys},
		{"invalid keys and content types are rejected", testBadArguments},
		{"List yields the keys in order", testListOrder},
		{"List filters by prefix", testListPrefix},
		{"List spans several pages", testListPages},
		{"readers never see a partial object", testConcurrentPut},
		{"Put and Delete in one folder do not interfere", testConcurrentDelete},
		{"a later Put does not affect an open object", testGetThenPut},
		{"the ETag changes with the bytes", testETag},
		{"GetPart returns a part of the object", testParts},
		{"GetPart never returns a part of another object", testChangedParts},
		{"a cancelled context ends every call", testCancelled},
		{"Ready is nil", func(t *testing.T, s objectstore.Store) {
			if err := s.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func testRoundTrip(t *testing.T, s objectstore.Store) {
	for _, test := range []struct {
		key, contentType string
		size             int
	}{
		{"4bf92f3577b34da6a3ce929d0e0e4736/photo.jpg", "image/jpeg", 400_000},
		{"4bf92f3577b34da6a3ce929d0e0e4736/photo.jpg.json", "application/json", 2_000},
		{"a type that differs from the extension.jpg", "image/png", 1},
		{"a type with parameters", "text/plain; charset=utf-8", 1},
		{"no type", "", 1},
		{"empty", "image/png", 0},
		{"the largest image", "image/png", 10 << 20},
	} {
		before := time.Now()
		data := bytesOf(test.size)
		put(t, s, test.key, data, test.contentType)
		want := test.contentType
		if want == "" {
			want = objectstore.DefaultContentType
		}
		info, err := s.Stat(t.Context(), test.key)
		if err != nil {
			t.Fatalf("Stat(%q): %v", test.key, err)
		}
		o, err := s.Get(t.Context(), test.key)
		if err != nil {
			t.Fatalf("Get(%q): %v", test.key, err)
		}
		got, err := io.ReadAll(o.Body)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("Get(%q) returns %d bytes and error %v, want the %d bytes that were put", test.key, len(got), err, len(data))
		}
		if err := o.Body.Close(); err != nil {
			t.Errorf("close body: %v", err)
		}
		for _, i := range []objectstore.Info{info, o.Info} {
			if i.Key != test.key || i.Size != int64(test.size) || i.ContentType != want {
				t.Errorf("got %+v, want key %q, size %d, type %q", i, test.key, test.size, want)
			}
			// S3 has whole seconds, and a server's clock may differ a little.
			if age := before.Sub(i.Modified); age > 5*time.Second || age < -time.Minute {
				t.Errorf("%q was modified at %v, want about %v", i.Key, i.Modified, before)
			}
		}
	}
}

func testOverwrite(t *testing.T, s objectstore.Store) {
	for _, size := range []int{500_000, 10, 0, 200_000} {
		put(t, s, "job/same.jpg", bytesOf(size), "image/jpeg")
		expect(t, s, "job/same.jpg", bytesOf(size))
	}
	put(t, s, "job/same.jpg", bytesOf(3), "text/plain")
	put(t, s, "job/same.jpg", bytesOf(3), "image/jpeg")
	if info, err := s.Stat(t.Context(), "job/same.jpg"); err != nil || info.ContentType != "image/jpeg" {
		t.Errorf("Stat = %+v, %v, want the type of the last Put", info, err)
	}
	expectKeys(t, s, "", "job/same.jpg")
}

func testAbsent(t *testing.T, s objectstore.Store) {
	put(t, s, "folder/object", bytesOf(5), "")
	for _, key := range []string{"absent", "absent/too", "folder", "folder/object/below", "folder/objec", "folder/object2"} {
		expectAbsent(t, s, key)
		if key == "folder" {
			continue // see testFolder
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q) of a missing object: %v", key, err)
		}
	}
	expect(t, s, "folder/object", bytesOf(5))
	expectKeys(t, s, "absent")
}

func testDelete(t *testing.T, s objectstore.Store) {
	put(t, s, "a/b/one", bytesOf(1), "")
	put(t, s, "a/b/two", bytesOf(2), "text/plain")
	put(t, s, "a/three", bytesOf(3), "")
	for _, step := range []struct {
		key  string
		left []string
	}{
		{"a/b/one", []string{"a/b/two", "a/three"}},
		{"a/b/one", []string{"a/b/two", "a/three"}},
		{"a/b/two", []string{"a/three"}},
		{"a/three", nil},
	} {
		if err := s.Delete(t.Context(), step.key); err != nil {
			t.Fatalf("Delete(%q): %v", step.key, err)
		}
		expectAbsent(t, s, step.key)
		expectKeys(t, s, "", step.left...)
	}
}

func testFolder(t *testing.T, s objectstore.Store) {
	put(t, s, "a/b/one", bytesOf(1), "")
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Errorf("Delete of a folder: %v", err)
	}
	expect(t, s, "a/b/one", bytesOf(1))
	if err := s.Delete(t.Context(), "a/b/one"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/b", bytesOf(4), "")
	expect(t, s, "a/b", bytesOf(4))
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/b/c", bytesOf(5), "")
	expectKeys(t, s, "", "a/b/c")
}

func testOddKeys(t *testing.T, s objectstore.Store) {
	keys := []string{
		" ", "a b", "a+b", "a%20b", "a%b", "a&b=c", "a?b", "a#b", "a;b,c:d@e", `a"b'c`, "a<b>c", "a*b|c", "~a$b!c(d)e[f]{g}^h`",
		"...", "..a", ".hidden", "a.", "a..b", "-rf", "con", "incoming/x", "objects/x", "types/x", "tmp",
		"Übung – 写真 😀.jpg", "\u00e9 composed", "e\u0301 decomposed", "МОСКВА", "UPPER", "upper", "مرحبا", "\u200bzero width", "\u00a0",
		strings.Repeat("x", objectstore.MaxElementBytes),
		strings.Repeat("é", 127) + "/" + strings.Repeat("y", objectstore.MaxElementBytes),
		strings.TrimSuffix(strings.Repeat("d/", objectstore.MaxKeyBytes/2), "/"),
	}
	for i, key := range keys {
		put(t, s, key, fmt.Appendf(nil, "%d: %s", i, key), "text/plain")
	}
	for i, key := range keys {
		expect(t, s, key, fmt.Appendf(nil, "%d: %s", i, key))
	}
	expectKeys(t, s, "", keys...)
	for _, prefix := range []string{".", "..", "...", "a", "a%", "a+", "é", "incoming/"} {
		var want []string
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		expectKeys(t, s, prefix, want...)
	}
	for _, key := range keys {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	expectKeys(t, s, "")
}

func testBadArguments(t *testing.T, s objectstore.Store) {
	keys := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/./b", "../a", "a/../b", "a/..", "../../../../tmp/escaped",
		"a\x00b", "a\nb", "a\x7f", "\xff", "a/\xc3",
		strings.Repeat("x", objectstore.MaxElementBytes+1),
		strings.Repeat("d/", objectstore.MaxKeyBytes/2) + "d",
	}
	expectArgumentError := func(call string, err error) {
		t.Helper()
		if err == nil || errors.Is(err, objectstore.ErrNotExist) || errors.Is(err, objectstore.ErrUnavailable) {
			t.Errorf("%s returns %v, want an argument error", call, err)
		}
	}
	for _, key := range keys {
		expectArgumentError(fmt.Sprintf("Put(%.40q)", key), s.Put(t.Context(), key, objectstore.Content{Data: nil, Type: ""}))
		_, err := s.Get(t.Context(), key)
		expectArgumentError(fmt.Sprintf("Get(%.40q)", key), err)
		_, err = s.GetPart(t.Context(), key, "etag", 0, 1)
		expectArgumentError(fmt.Sprintf("GetPart(%.40q)", key), err)
		_, err = s.Stat(t.Context(), key)
		expectArgumentError(fmt.Sprintf("Stat(%.40q)", key), err)
		expectArgumentError(fmt.Sprintf("Delete(%.40q)", key), s.Delete(t.Context(), key))
	}
	for _, contentType := range []string{"image/jpeg\r\nX-Evil: 1", "b\xfcrger", " image/png", strings.Repeat("x", 256)} {
		expectArgumentError(fmt.Sprintf("Put with type %.40q", contentType), s.Put(t.Context(), "key", objectstore.Content{Data: nil, Type: contentType}))
	}
	for _, prefix := range []string{"/", "a//", "../", "./x", "a\x00", "\xff", strings.Repeat("x", objectstore.MaxElementBytes+1)} {
		_, err := list(t.Context(), s, prefix)
		expectArgumentError(fmt.Sprintf("List(%.40q)", prefix), err)
	}
	expectKeys(t, s, "")
}

func testCancelled(t *testing.T, s objectstore.Store) {
	put(t, s, "a", bytesOf(10), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := s.Get(ctx, "a")
	_, statErr := s.Stat(ctx, "a")
	_, listErr := list(ctx, s, "")
	for call, err := range map[string]error{
		"Put": s.Put(ctx, "b", objectstore.Content{Data: bytesOf(10), Type: ""}), "Get": getErr, "Stat": statErr,
		"Delete": s.Delete(ctx, "a"), "List": listErr, "Ready": s.Ready(ctx),
	} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, objectstore.ErrUnavailable) {
			t.Errorf("%s with a cancelled context returns %v, want context.Canceled", call, err)
		}
	}
	expectKeys(t, s, "", "a")

	put(t, s, "large", bytesOf(8<<20), "")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	o, err := s.Get(ctx, "large")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if _, err := io.ReadFull(o.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if n, err := io.Copy(io.Discard, o.Body); !errors.Is(err, context.Canceled) || errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("a body with a cancelled context returns %d more bytes and %v, want context.Canceled", n, err)
	}
}

// bytesOf returns n incompressible bytes, always the same for the same n.
func bytesOf(n int) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(data)
	return data
}

func put(t *testing.T, s objectstore.Store, key string, data []byte, contentType string) {
	t.Helper()
	if err := s.Put(t.Context(), key, objectstore.Content{Data: data, Type: contentType}); err != nil {
		t.Fatalf("Put(%.80q): %v", key, err)
	}
}

func expect(t *testing.T, s objectstore.Store, key string, want []byte) {
	t.Helper()
	got, err := objectstore.ReadAll(t.Context(), s, key, 1<<30)
	if err != nil {
		t.Errorf("read %.80q: %v", key, err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%.80q has %d bytes that differ from the expected %d", key, len(got), len(want))
	}
}

func expectAbsent(t *testing.T, s objectstore.Store, key string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("Stat(%q) returns %v, want ErrNotExist", key, err)
	}
	o, err := s.Get(t.Context(), key)
	if !errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("Get(%q) returns %v, want ErrNotExist", key, err)
	}
	if err == nil {
		_ = o.Body.Close()
	}
}

// together runs n goroutines and waits for them. The first failure cancels all.
func together(t *testing.T, n int, run func(ctx context.Context, i int) error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := run(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Error(err)
	}
}
