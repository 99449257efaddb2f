package dirstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func TestFullDiskIsUnavailableAndRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(t, dir); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	s := opened(t, filepath.Join(dir, "store"))
	if err := s.Put(t.Context(), "first", objectstore.Content{Data: make([]byte, 700_000), Type: "image/png"}); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for range 3 {
		if err := s.Put(t.Context(), "second", objectstore.Content{Data: make([]byte, 700_000), Type: "image/png"}); !errors.Is(err, objectstore.ErrUnavailable) {
			t.Fatalf("Put on a full disk = %v, want ErrUnavailable", err)
		}
		if err := s.Put(t.Context(), "first", objectstore.Content{Data: make([]byte, 700_000), Type: "image/png"}); !errors.Is(err, objectstore.ErrUnavailable) {
			t.Fatalf("Put on a full disk = %v, want ErrUnavailable", err)
		}
	}
	if after := files(t, dir); !slices.Equal(after, before) {
		t.Errorf("after failed Puts the folder has %q, want %q", after, before)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	if err := s.Ready(t.Context()); !errors.Is(err, objectstore.ErrUnavailable) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Ready = %v, want an ErrUnavailable that names the full disk", err)
	}
	if data, err := objectstore.ReadAll(t.Context(), s, "first", 1<<20); err != nil || len(data) != 700_000 {
		t.Errorf("the existing object: %d bytes, %v", len(data), err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Ready(t.Context()), s.Put(t.Context(), "second", objectstore.Content{Data: make([]byte, 700_000), Type: ""})); err != nil {
		t.Errorf("with free space: %v", err)
	}
}

func mountSmall(t *testing.T, dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return nil
}
