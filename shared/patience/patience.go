// Package patience is how Imagebatch waits for what will come back: in pauses
// that grow, are never the same for two that wait, and end with their context.
package patience

import (
	"context"
	"math/rand/v2"
	"time"
)

// Most is the longest pause between two tries at something that is away.
const Most = 5 * time.Second

// BackOff is the pause before try n+1, counted from 0: it doubles from 50 ms to
// Most, less a random part of up to a half.
func BackOff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(max(n, 0), 10), Most)
	return d/2 + rand.N(d/2+1)
}

// Pause waits for d and returns true, or false when ctx ends first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
