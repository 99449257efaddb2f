//go:build linux

package journal_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// TestFullDisk verifies that a line that could only be written in part is removed, and that the journal continues once
// there is room. A limit of the process stands for the full disk.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	must(t, j.Begin(journal.Batch{Key: "before", Files: []journal.File{file("a.jpg", "a")}}))
	info, err := os.Stat(path)
	must(t, err)

	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size()) + 20, Max: limit.Max}))
	full := j.Begin(journal.Batch{Key: "during", Files: []journal.File{file("b.jpg", "b")}})
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	if full == nil {
		t.Error("a line that does not fit was accepted")
	}
	must(t, j.Begin(journal.Batch{Key: "after", Files: []journal.File{file("c.jpg", "c")}}))
	if got := reopen(t, path, j).Batches(); len(got) != 2 || got[0].Key != "before" || got[1].Key != "after" {
		t.Errorf("open batches: %+v", got)
	}
}
