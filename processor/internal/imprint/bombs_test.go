package imprint

import (
	"runtime"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// TestWriteOutlivesBombs writes into every hostile file, in each of the ways that it
// can be told to: nothing but what it says changes, writing again changes nothing,
// and none takes more memory, all that was ever allocated for it taken together,
// than a few times its bytes.
func TestWriteOutlivesBombs(t *testing.T) {
	const besides = 48 << 20
	for _, b := range imagetest.All() {
		t.Run(b.Name, func(t *testing.T) {
			for _, o := range []Options{{}, {KeepCaptions: true}, {StripPlace: true, EmbedSigned: true}} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				f, err := Write(b.Data, sample(), o)
				runtime.ReadMemStats(&after)
				if used, bound := after.TotalAlloc-before.TotalAlloc, uint64(besides+6*len(b.Data)); used > bound {
					t.Errorf("%+v: %d MiB allocated in all, want at most %d", o, used>>20, bound>>20)
				} else {
					t.Logf("%d kiB allocated", used>>10)
				}
				if err != nil {
					continue
				}
				again, err := Write(f.Data, sample(), o)
				if err != nil || string(again.Data) != string(f.Data) {
					t.Errorf("%+v: written again it is another file (%v)", o, err)
				}
				// The decoder by itself takes seconds for the largest.
				if b.Want == "" && len(b.Data) < 4<<20 {
					checkPixels(t, b.Data, f.Data)
				}
			}
		})
	}
}
