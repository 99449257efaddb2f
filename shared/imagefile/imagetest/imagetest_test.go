package imagetest_test

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestAttackBombs verifies that imagefile, which checks every image first, returns the
// error code that each bomb names.
func TestAttackBombs(t *testing.T) {
	names := map[string]bool{}
	var again [][sha256.Size]byte // not the files, which need much memory
	for _, b := range imagetest.All() {
		again = append(again, sha256.Sum256(b.Data))
	}
	for i, b := range imagetest.All() {
		t.Run(b.Name, func(t *testing.T) {
			if names[b.Name] {
				t.Error("duplicate name")
			}
			names[b.Name] = true
			if len(b.Data) >= imagetest.MaxBytes {
				t.Errorf("%d bytes, too many for an upload", len(b.Data))
			}
			if sha256.Sum256(b.Data) != again[i] {
				t.Error("a second call returns another file")
			}
			want := b.Want
			if b.Late {
				want = ""
			}
			_, err := imagefile.Read(b.Data, imagefile.Limits{})
			if got := code(t, err); got != want {
				t.Errorf("got %q (%v), want %q", got, err, want)
			}
		})
	}
}

// code returns the code of the failure, or "".
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var f *pipeline.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure of the image", err)
	}
	return f.Code
}
