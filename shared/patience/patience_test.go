package patience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/shared/patience"
)

func TestBackOffGrowsToItsBound(t *testing.T) {
	for n := -1; n < 100; n++ {
		most := min(50*time.Millisecond<<min(max(n, 0), 20), patience.Most)
		for range 100 {
			if d := patience.BackOff(n); d < most/2 || d > most {
				t.Fatalf("BackOff(%d) = %s, want %s to %s", n, d, most/2, most)
			}
		}
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !patience.Pause(ctx, time.Second) || time.Since(began) != time.Second {
			t.Errorf("paused for %s, want 1s", time.Since(began))
		}
		if patience.Pause(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("paused for %s beyond its context", time.Since(began))
		}
	})
}
