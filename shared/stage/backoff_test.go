package stage_test

import (
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/stage"
)

// TestNewBackOff verifies that the pauses never end, have jitter, grow, and stay within 5 s.
func TestNewBackOff(t *testing.T) {
	pauses, mean := stage.NewBackOff(), 50*time.Millisecond
	for n := range 100 {
		if d := pauses.NextBackOff(); d < mean/2 || d > mean*3/2+1 || d > 5*time.Second {
			t.Fatalf("pause %d is %s, want %s to %s", n, d, mean/2, mean*3/2)
		}
		mean = min(2*mean, 3300*time.Millisecond)
	}
}
