package service

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"testing"
)

// printGoal prints the size in MiB at which a heap with so many MiB in use is collected next.
func printGoal(used string) {
	leaveGarbage()
	var mib int
	if _, err := fmt.Sscan(used, &mib); err != nil {
		panic(err)
	}
	keep := make([]byte, mib<<20)
	for range 20 { // The percentage of a cycle applies to the next one.
		runtime.GC()
		runtime.Gosched()
	}
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	fmt.Print(goal[0].Value.Uint64() >> 20)
	runtime.KeepAlive(keep)
}

// TestGarbageIsLeft verifies at which size the garbage collector runs in programs of different heaps.
func TestGarbageIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		used      string // MiB
		env       string
		min, most int // MiB
	}{
		{"1", "", 32, 40},
		{"1", "GOGC=100", 2, 8},
		{"1", "GOMEMLIMIT=16MiB", 1, 16},
		{"20", "", 50, 60},
		{"100", "", 200, 210}, // as by Go's default
	} {
		t.Run(c.used+" MiB "+c.env, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this program
			cmd.Env = append(os.Environ(), "GOGC=", "GOMEMLIMIT=", cmp.Or(c.env, "GOGC="), "TEST_USED_MIB="+c.used)
			out, err := cmd.Output()
			goal := -1
			if err == nil {
				_, err = fmt.Sscan(string(out), &goal)
			}
			if err != nil || goal < c.min || goal > c.most {
				t.Errorf("the garbage collector runs at %d MiB, want %d to %d; %v", goal, c.min, c.most, err)
			}
		})
	}
}
