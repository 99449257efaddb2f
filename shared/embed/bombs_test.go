package embed

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// TestAttackBombs writes metadata into every hostile file, with each of the options. It
// verifies that the pixels do not change, that a second write changes nothing, and that
// all allocations for a file together are at most a few times its bytes.
func TestAttackBombs(t *testing.T) {
	const overhead = 48 << 20
	for _, b := range imagetest.All() {
		t.Run(b.Name, func(t *testing.T) {
			last := b.Data
			for _, o := range []Options{{}, {Composed: true}, {Composed: true, StripPlace: true, EmbedSigned: true}} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				f, err := Write(b.Data, sample(), o)
				runtime.ReadMemStats(&after)
				if used, bound := after.TotalAlloc-before.TotalAlloc, uint64(overhead+6*len(b.Data)); used > bound {
					t.Errorf("%+v: %d MiB allocated in total, want at most %d", o, used>>20, bound>>20)
				} else {
					t.Logf("%d kiB allocated", used>>10)
				}
				if err != nil {
					continue
				}
				again, err := Write(f.Data, sample(), o)
				if err != nil || string(again.Data) != string(f.Data) {
					t.Errorf("%+v: a second write changes the file (error %v)", o, err)
				}
				// On the whole file, the decoder takes seconds for the largest ones. Some options give the same file.
				if b.Want == "" && len(b.Data) < 4<<20 && !bytes.Equal(f.Data, last) {
					checkPixels(t, b.Data, f.Data)
				}
				last = f.Data
			}
		})
	}
}
