package telemetry

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimited verifies that gauges that share a hanging read wait for a second together, that no second read starts while one
// hangs, and that a late result is not returned.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads, hang atomic.Int64
		hang.Store(int64(10 * time.Second))
		read := Limited(func(context.Context) (int, error) {
			n := int(reads.Add(1))
			time.Sleep(time.Duration(hang.Load())) // as a read of the job store does, which ignores its context
			return n, nil
		})
		fail := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			for range 3 {
				if _, err := read(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			}
			if took := time.Since(start); took != want || reads.Load() != 1 {
				t.Errorf("%d reads in %s", reads.Load(), took)
			}
		}
		fail(time.Second)
		fail(0)
		time.Sleep(3 * time.Second)
		fail(time.Second)
		time.Sleep(20 * time.Second)
		hang.Store(0)
		for want := 2; want <= 3; want++ {
			if n, err := read(); n != want || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
		}
	})
}
