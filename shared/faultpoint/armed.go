//go:build faultpoints

package faultpoint

import (
	"os"
	"syscall"
)

// Reach kills the process when FAULTPOINT is the name, and FAULTPOINT_DETAIL,
// if it is set, the detail. With FAULTPOINT_ONCE, the path of a file, it does so
// only while that file is not there, and makes it first: one death, however often
// the process is started again.
func Reach(name, detail string) {
	if os.Getenv("FAULTPOINT") != name {
		return
	}
	if want := os.Getenv("FAULTPOINT_DETAIL"); want != "" && want != detail {
		return
	}
	if path := os.Getenv("FAULTPOINT_ONCE"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return // it has happened
		}
		_ = f.Close() // it is empty
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing prevents it
	select {}                                      // until the signal is there
}
