package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// inOrder are keys in byte order: "a.b" comes before "a/b", which comes before "a0". A
// walk from folder to folder gets this wrong.
var inOrder = []string{
	"A", "a b/c", "a!/c", "a-/c", "a-b", "a.b", "a.b/c", "a/b", "a/b.c/x", "a/b/c", "a/b0", "a0", "a0/b", "aa", "aa/a",
	"b.jpg", "b.jpg.json", "b.jpg.thumb.jpg", "b/1", "b/10", "b/2", "é", "é/é", "写",
}

func testListOrder(t *testing.T, s objectstore.Store) {
	var keys []string
	for _, key := range inOrder {
		if key != "a/b" && key != "aa" && key != "a.b" && key != "a0" && key != "é" { // they are folders of other keys
			keys = append(keys, key)
		}
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		put(t, s, key, []byte(key), "text/plain")
	}
	expectKeys(t, s, "", keys...)
	for _, key := range inOrder {
		for end := range len(key) + 1 {
			prefix := key[:end]
			if objectstore.CheckPrefix(prefix) != nil { // in the middle of a rune
				continue
			}
			var want []string
			for _, k := range keys {
				if len(k) >= end && k[:end] == prefix {
					want = append(want, k)
				}
			}
			expectKeys(t, s, prefix, want...)
		}
	}
	infos, err := list(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Size != int64(len(i.Key)) || i.Modified.IsZero() || i.ContentType != "" {
			t.Errorf("List yields %+v, want size %d, a time and no type", i, len(i.Key))
		}
	}
}

func testListPrefix(t *testing.T, s objectstore.Store) {
	for _, key := range []string{"one/a", "one/b", "one.txt", "oneself/a", "two/a"} {
		put(t, s, key, nil, "")
	}
	expectKeys(t, s, "one", "one.txt", "one/a", "one/b", "oneself/a")
	expectKeys(t, s, "one/", "one/a", "one/b")
	expectKeys(t, s, "one/a", "one/a")
	expectKeys(t, s, "two", "two/a")
	expectKeys(t, s, "three")
	expectKeys(t, s, "one/a/")
	expectKeys(t, s, "one/a/b")
}

// pagedKeys is more than two of S3's pages of 1000 keys.
const pagedKeys = 2_050

func testListPages(t *testing.T, s objectstore.Store) {
	var keys []string
	for i := range pagedKeys {
		keys = append(keys, fmt.Sprintf("%03d/%d.jpg", i%103, i))
	}
	together(t, 8, func(ctx context.Context, worker int) error {
		for i := worker; i < len(keys); i += 8 {
			if err := s.Put(ctx, keys[i], objectstore.Content{Data: []byte{1}, Type: "image/jpeg"}); err != nil {
				return err
			}
		}
		return nil
	})
	expectKeys(t, s, "", keys...)

	slices.Sort(keys)
	for _, stop := range []int{1, 999, 1000, 1001, 2000} {
		var got []string
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, info.Key); len(got) == stop {
				break
			}
		}
		if !slices.Equal(got, keys[:stop]) {
			t.Errorf("the first %d objects of List are not the first %d keys", stop, stop)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range s.List(ctx, "") {
		if last = err; err != nil {
			continue
		}
		if n++; n == 500 {
			cancel()
		}
	}
	if last == nil {
		t.Errorf("List with a context cancelled in the middle yielded %d objects and no error", n)
	}
}

func list(ctx context.Context, s objectstore.Store, prefix string) ([]objectstore.Info, error) {
	var infos []objectstore.Info
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return infos, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// expectKeys verifies that List yields exactly the keys, given in any order, in byte
// order.
func expectKeys(t *testing.T, s objectstore.Store, prefix string, want ...string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	infos, err := list(t.Context(), s, prefix)
	if err != nil {
		t.Errorf("List(%q): %v", prefix, err)
		return
	}
	var got []string
	for _, info := range infos {
		got = append(got, info.Key)
	}
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("List(%q) yields %d keys, want %d", prefix, len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("key %d is %q, want %q", i, got[i], want[i])
			break
		}
	}
}
