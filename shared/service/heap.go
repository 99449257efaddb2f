package service

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// minGarbage is how many bytes a service allocates between two runs of the garbage collector at
// least. A service that works on images of a few megapixels has a heap of a few MiB, which Go would
// collect every few images. A larger GOGC would do the same to the heap of large images.
const minGarbage = 32 << 20

// leaveGarbage keeps the garbage collector from running too often, unless the operator has set
// GOGC. GOMEMLIMIT applies as before.
func leaveGarbage() {
	if os.Getenv("GOGC") != "" {
		return
	}
	var cycle func(struct{})
	cycle = func(struct{}) {
		debug.SetGCPercent(percentFor(live()))
		// This object is unreachable from its creation, so the next cycle finds it.
		runtime.AddCleanup(&struct{ next *byte }{}, cycle, struct{}{})
	}
	cycle(struct{}{})
}

// smallest is the size of a heap that Go does not collect with GOGC=100. It is proportional to GOGC.
const smallest = 4 << 20

// percentFor returns the GOGC with which a heap with so many live bytes grows by about minGarbage, or
// Go's default if that is more.
func percentFor(live uint64) int {
	return max(100, int(minGarbage*100/max(live, smallest))) //nolint:gosec // at most 800
}

// live returns the bytes that the last cycle found in use, in addition to those that it scanned outside the heap:
// Go adds the same share of both.
func live() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}
