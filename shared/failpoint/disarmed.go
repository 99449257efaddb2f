//go:build !failpoints

package failpoint

import "time"

// Reach does nothing in this build.
func Reach(_, _ string) {}

// Now returns the wall-clock time; in this build it is [time.Now].
func Now() time.Time { return time.Now() }
