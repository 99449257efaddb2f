//go:build failpoints

package failpoint

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// Reach kills the process when FAILPOINT is the name, and the detail ends in
// FAILPOINT_DETAIL, if that is set. With FAILPOINT_ONCE, the path of a file, it
// does so only while that file is not there, and makes it first: one death,
// however often the process is started again.
//
// FAILPOINT_ORDER is the path of a file that may come and go while the process
// runs. It holds KILL or STOP and, after a space, the name of a point: what
// reaches that point first takes the file away and gets the signal.
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
			return // it has happened
		}
		_ = f.Close() // it is empty
	}
	hit(syscall.SIGKILL)
}

// order takes the order for this point, if there is one.
func order(name string) syscall.Signal {
	path := os.Getenv("FAILPOINT_ORDER")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0 // none, which is so nearly always
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
	_ = syscall.Kill(os.Getpid(), s) // nothing prevents it
	if s == syscall.SIGKILL {
		select {} // until the signal is there
	}
}

// Now is the time on a wall whose clock may be wrong by the duration in the file
// FAILPOINT_CLOCK. It has no monotonic part: who would measure with it finds out.
func Now() time.Time {
	text, err := os.ReadFile(os.Getenv("FAILPOINT_CLOCK"))
	if err != nil {
		return time.Now()
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return time.Now() // the file is being made
	}
	return time.Now().Round(0).Add(offset)
}
