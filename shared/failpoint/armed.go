//go:build failpoints

package failpoint

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// Reach kills the process if FAILPOINT is the name, and the detail ends with
// FAILPOINT_DETAIL, if set. If FAILPOINT_ONCE is set to the path of a file, Reach does
// so only while that file does not exist, and creates it first: one death, however
// often the process is restarted.
//
// FAILPOINT_ORDER is the path of a file that may appear and disappear while the process
// runs. It has the content KILL or STOP, a space, and the name of a failpoint. The
// first process that reaches the failpoint removes the file and gets the signal.
func Reach(name, detail string) {
	if s := order(name); s != 0 {
		hit(s)
	}
	if os.Getenv("FAILPOINT") != name || !strings.HasSuffix(detail, os.Getenv("FAILPOINT_DETAIL")) {
		return
	}
	if path := os.Getenv("FAILPOINT_ONCE"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return // already happened
		}
		_ = f.Close() // an empty file
	}
	hit(syscall.SIGKILL)
}

// order takes the order for this failpoint and returns its signal, or 0 if there is
// none.
func order(name string) syscall.Signal {
	path := os.Getenv("FAILPOINT_ORDER")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0 // no order, the usual case
	}
	verb, point, _ := strings.Cut(string(text), " ")
	if point != name || os.Remove(path) != nil {
		return 0
	}
	if verb == "STOP" {
		return syscall.SIGSTOP
	}
	return syscall.SIGKILL
}

func hit(s syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), s) // cannot fail
	if s == syscall.SIGKILL {
		select {} // wait for the signal
	}
}

// Now returns the wall-clock time plus the duration in the file FAILPOINT_CLOCK. The
// result has no monotonic part, so that code that measures with it fails its tests.
func Now() time.Time {
	text, err := os.ReadFile(os.Getenv("FAILPOINT_CLOCK"))
	if err != nil {
		return time.Now()
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return time.Now() // the file is being written
	}
	return time.Now().Round(0).Add(offset)
}
