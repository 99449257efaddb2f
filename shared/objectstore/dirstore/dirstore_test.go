package dirstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/storetest"
)

func opened(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) objectstore.Store { return opened(t, filepath.Join(t.TempDir(), "data", "original")) })
}

// files returns the paths of all files and folders below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestObjectsAreFilesUnderTheirKeys(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	for key, contentType := range map[string]string{
		"id/photo.jpg": "image/jpeg", "id/photo.jpg.json": "application/json", "id/wrong.jpg": "image/png",
	} {
		if err := s.Put(t.Context(), key, objectstore.Content{Data: []byte(key), Type: contentType}); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "objects/id/photo.jpg")); err != nil || string(data) != "id/photo.jpg" {
		t.Errorf("the file has %q, %v", data, err)
	}
	want := []string{
		"incoming", "objects", "objects/id", "objects/id/photo.jpg", "objects/id/photo.jpg.json", "objects/id/wrong.jpg",
		"types", "types/id", "types/id/wrong.jpg",
	}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}

	again := opened(t, dir)
	info, err := again.Stat(t.Context(), "id/wrong.jpg")
	if err != nil || info.ContentType != "image/png" || info.Size != 12 {
		t.Errorf("Stat after reopening: %+v, %v", info, err)
	}
	for _, key := range []string{"id/photo.jpg", "id/photo.jpg.json", "id/wrong.jpg"} {
		if err := again.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := files(t, dir), []string{"incoming", "objects", "types"}; !slices.Equal(got, want) {
		t.Errorf("after all deletes, the folder has %q, want %q", got, want)
	}
}

func TestTidyRemovesTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	if err := s.Put(t.Context(), "kept", objectstore.Content{Data: []byte("kept"), Type: ""}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.writeFile([]byte("half a"), false); err != nil {
		t.Fatal(err)
	}
	again := opened(t, dir)
	if left := files(t, filepath.Join(dir, incoming)); len(left) != 1 {
		t.Errorf("Open removed %d temporary files that may be in use", 1-len(left))
	}
	if err := again.Tidy(); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, dir), []string{"incoming", "objects", "objects/kept", "types"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if _, err := objectstore.ReadAll(t.Context(), again, "kept", 10); err != nil {
		t.Error(err)
	}
}

func TestKeyThatIsAFolderIsRejected(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	for _, key := range []string{"a/b/c", "x"} {
		if err := s.Put(t.Context(), key, objectstore.Content{Data: []byte(key), Type: ""}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "a/b", "a/b/c/d", "x/y", "x/y/z"} {
		for _, contentType := range []string{"", "text/html"} {
			err := s.Put(t.Context(), key, objectstore.Content{Data: nil, Type: contentType})
			if err == nil || errors.Is(err, objectstore.ErrUnavailable) || errors.Is(err, objectstore.ErrNotExist) {
				t.Errorf("Put(%q) = %v, want an argument error", key, err)
			}
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	for _, key := range []string{"a/b/c", "x"} {
		if data, err := objectstore.ReadAll(t.Context(), s, key, 10); err != nil || string(data) != key {
			t.Errorf("%q has %q, %v", key, data, err)
		}
	}
	if left := files(t, filepath.Join(dir, incoming)); len(left) > 0 {
		t.Errorf("remaining temporary files: %q", left)
	}
}

func TestPutReplacesEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "objects/was/tidied"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "was/tidied", objectstore.Content{Data: []byte("now an object"), Type: "text/html"}); err != nil {
		t.Fatal(err)
	}
	if data, err := objectstore.ReadAll(t.Context(), s, "was/tidied", 100); err != nil || string(data) != "now an object" {
		t.Errorf("got %q, %v", data, err)
	}
}

// TestAttackKeys verifies that no key leads out of the folder, not even through a symlink.
func TestAttackKeys(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := opened(t, dir)
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "objects/out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "objects/link")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"out/secret", "link"} {
		if data, err := objectstore.ReadAll(t.Context(), s, key, 100); err == nil {
			t.Errorf("Get(%q) returned %q", key, data)
		}
	}
	if err := s.Put(t.Context(), "out/planted", objectstore.Content{Data: []byte("x"), Type: ""}); err == nil {
		t.Error("Put followed the link")
	}
	if err := s.Delete(t.Context(), "out/secret"); err == nil {
		t.Error("Delete followed the link")
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("List yields %+v, %v", info, err)
	}
	if got := files(t, outside); !slices.Equal(got, []string{"secret"}) {
		t.Errorf("the folder outside has %q", got)
	}
}

func TestBrokenFolderIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	if err := os.Remove(filepath.Join(dir, incoming)); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err == nil || errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("Put without a folder for temporary files = %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, objectstore.ErrUnavailable) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Ready = %v, want an ErrUnavailable that names %s", err, dir)
	}
	if err := os.Mkdir(filepath.Join(dir, incoming), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Ready(t.Context()), s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""})); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

func TestTruncatedFileIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: make([]byte, 100_000), Type: ""}); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if err := os.Truncate(filepath.Join(dir, "objects/a"), 60_000); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, o.Body); n != 60_000 || !errors.Is(err, objectstore.ErrUnavailable) {
		t.Errorf("the body returns %d bytes and %v, want 60000 and ErrUnavailable", n, err)
	}
}

// TestListOfLargeFolder lists more names of one folder than are in memory at a time.
func TestListOfLargeFolder(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	const wide = 2*pageNames + 100
	empty := filepath.Join(dir, incoming, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range wide {
		name := filepath.Join(dir, "objects", fmt.Sprintf("%x", i))
		if i%100 == 0 {
			if err := os.Mkdir(name, 0o750); err != nil {
				t.Fatal(err)
			}
			name = filepath.Join(name, "x")
		}
		if err := os.Link(empty, name); err != nil { // faster than a new file
			t.Fatal(err)
		}
	}
	var keys []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	if len(slices.Compact(slices.Clone(keys))) != wide || !slices.IsSorted(keys) {
		t.Errorf("List yields %d keys, sorted %v; want %d, sorted", len(keys), slices.IsSorted(keys), wide)
	}
}

func TestCancelledPutLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	// Cancelled before or between the check and the rename: no object in either case.
	ctx := &endsAfter{Context: t.Context(), calls: 1}
	if err := s.Put(ctx, "a", objectstore.Content{Data: []byte("a"), Type: ""}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	if got, want := files(t, dir), []string{"incoming", "objects", "types"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}

// endsAfter is a context whose Err returns an error after the given number of calls.
type endsAfter struct {
	context.Context
	calls int
}

func (c *endsAfter) Err() error {
	if c.calls--; c.calls < 0 {
		return context.Canceled
	}
	return nil
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	data := bytes.Repeat([]byte("0123456789"), 40_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if err := s.Put(b.Context(), fmt.Sprintf("%032x/photo.jpg", i), objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTimesArePrecise verifies that a Put has its own time and not that of the kernel's
// last tick, because two Puts within one tick must have different ETags.
func TestTimesArePrecise(t *testing.T) {
	s := opened(t, t.TempDir())
	for range 20 {
		before := time.Now()
		if err := s.Put(t.Context(), "key", objectstore.Content{Data: []byte("same size"), Type: ""}); err != nil {
			t.Fatal(err)
		}
		info, err := s.Stat(t.Context(), "key")
		if err != nil {
			t.Fatal(err)
		}
		if info.Modified.Before(before) || info.Modified.After(time.Now()) {
			t.Errorf("modified %v before the Put started", before.Sub(info.Modified))
		}
	}
}
