package imagetest_test

import (
	"bytes"
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
	again := imagetest.All()
	for i, b := range imagetest.All() {
		t.Run(b.Name, func(t *testing.T) {
			if names[b.Name] {
				t.Error("the name is not its own")
			}
			names[b.Name] = true
			if len(b.Data) >= imagetest.MaxBytes {
				t.Errorf("%d bytes, too many to be let in", len(b.Data))
			}
			if !bytes.Equal(b.Data, again[i].Data) {
				t.Error("made again it is another file")
			}
			want := b.Want
			if b.Late {
				want = ""
			}
			_, err := imagefile.Read(b.Data, imagefile.Limits{})
			if got := code(t, err); got != want {
				t.Errorf("ends as %q (%v), want %q", got, err, want)
			}
		})
	}
}

// code is the code of the failure, "" when there is none.
func code(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var f *pipeline.Failure
	if !errors.As(err, &f) {
		t.Fatalf("not a failure of the image: %v", err)
	}
	return f.Code
}
