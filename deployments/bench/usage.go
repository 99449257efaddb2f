package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is USER_HZ, in which /proc counts processor time: 100 on every
// architecture that Go runs on.
const clockTicks = 100

// spent is the processor time, user and system, that the process and the
// children which it has waited for have used so far.
func spent(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// The name in parentheses may hold anything; utime is the 12th field behind it.
	_, after, _ := cutLast(string(stat), ")")
	fields := strings.Fields(after)
	if len(fields) < 15 {
		return 0, fmt.Errorf("read processor time: odd line %q", stat)
	}
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// memory is the resident memory of a process in bytes.
type memory struct{ now, peak int64 }

// resident reads it; the peak is that since the last forgetPeak.
func resident(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read memory: %w", err)
	}
	var m memory
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "VmRSS:":
			m.now = kib << 10
		case fields[0] == "VmHWM:":
			m.peak = kib << 10
		}
	}
	if m.now == 0 || m.peak == 0 {
		return memory{}, errors.New("read memory: the kernel does not tell")
	}
	return m, nil
}

// forgetPeak begins a new peak at what is resident now (see proc(5), clear_refs).
func forgetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("forget peak of memory: %w", err)
	}
	return nil
}

// ownTime is the processor time of this process and of the children it has waited
// for.
func ownTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if syscall.Getrusage(who, &used) == nil { // it fails for another who only
			sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
		}
	}
	return sum
}
