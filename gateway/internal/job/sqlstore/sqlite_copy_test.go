package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// TestBackup repeatedly copies a store while a gateway writes to it: each copy contains
// every job that was stored before it was started, and only complete jobs.
func TestBackup(t *testing.T) {
	s := openStore(t, logLimit)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	stored := make(chan int) // returns the number of stored jobs
	work.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if err := s.Create(context.WithoutCancel(ctx), newJob(fmt.Sprint(n), 5)); err != nil {
				t.Error(err)
				return
			}
			select {
			case stored <- n + 1:
			default:
			}
		}
	})
	names := map[string]bool{s.ID(): true}
	for range 5 {
		least := <-stored
		to := filepath.Join(t.TempDir(), "copy.db")
		made, err := Backup(t.Context(), file(s).path, to)
		ok(t, err)
		if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 || info.Size() != made.Bytes {
			t.Errorf("the copy is %+v, %v, and has %d bytes", info, err, made.Bytes)
		}
		if made.Jobs < least || made.OpenImages != 5*made.Jobs {
			t.Errorf("copied %+v, want at least the %d jobs stored before", made, least)
		}
		alone(t, to)
		again, err := OpenSQLite(t.Context(), to, quiet)
		ok(t, err)
		count, err := again.Count(t.Context())
		ok(t, err)
		if count.Jobs != made.Jobs || count.OpenImages != made.OpenImages {
			t.Errorf("copied %+v, and the copy has %+v", made, count)
		}
		for n := range made.Jobs {
			if j, err := again.Get(t.Context(), fmt.Sprint(n)); err != nil || len(j.Images) != 5 {
				t.Errorf("job %d is %+v, %v", n, j, err)
			}
		}
		if names[again.ID()] {
			t.Errorf("two stores are named %s", again.ID())
		}
		names[again.ID()] = true
		ok(t, again.Close())
	}
}

// alone verifies that the folder of a copy contains no other file.
func alone(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	ok(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(file) {
			t.Errorf("%s is left next to the copy", e.Name())
		}
	}
}

// TestBackupOfAStoppedGateway copies the file of a gateway that has stopped, and of one that
// was killed, whose last jobs are still in the write-ahead log.
func TestBackupOfAStoppedGateway(t *testing.T) {
	s := openStore(t, logLimit)
	ok(t, s.Create(t.Context(), newJob("a", 2)))
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} { // the files that a killed gateway leaves
		data, err := os.ReadFile(file(s).path + suffix)
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(dir, "killed.db"+suffix), data, 0o600))
	}
	ok(t, s.Close())
	for _, path := range []string{file(s).path, filepath.Join(dir, "killed.db")} {
		made, err := Backup(t.Context(), path, filepath.Join(t.TempDir(), "copy.db"))
		ok(t, err)
		if made.Jobs != 1 || made.OpenImages != 2 {
			t.Errorf("copied from %s: %+v", path, made)
		}
	}
}

// TestBackupMistakes verifies that no file is overwritten, and that a failed backup leaves no
// file that looks like a copy.
func TestBackupMistakes(t *testing.T) {
	s := openStore(t, logLimit)
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")
	if _, err := Backup(t.Context(), file(s).path+"x", to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing store: %v", err)
	}
	if _, err := Backup(t.Context(), file(s).path, filepath.Join(dir, "x", "copy.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	ok(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	if _, err := Backup(t.Context(), text, to); err == nil {
		t.Error("a text file was copied as a store")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Backup(over, file(s).path, to); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted backup: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("%v are left, %v", entries, err)
	}
	ok(t, os.WriteFile(to, []byte("dear"), 0o600))
	if _, err := Backup(t.Context(), file(s).path, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
	if data, err := os.ReadFile(to); err != nil || string(data) != "dear" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

// TestRestore replaces the store of a killed gateway with a copy, and verifies that the old
// files are kept.
func TestRestore(t *testing.T) {
	s := openStore(t, logLimit)
	ok(t, s.Create(t.Context(), newJob("old", 2)))
	from := filepath.Join(t.TempDir(), "copy.db")
	_, err := Backup(t.Context(), file(s).path, from)
	ok(t, err)
	ok(t, s.Create(t.Context(), newJob("new", 3)))
	if _, _, err := Restore(t.Context(), from, file(s).path); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Errorf("restored while a gateway runs: %v", err)
	}
	log, err := os.ReadFile(file(s).path + "-wal")
	ok(t, err)
	ok(t, s.Close())
	ok(t, os.WriteFile(file(s).path+"-wal", log, 0o600)) // as after a kill

	names := map[string]bool{}
	for range 2 {
		made, before, err := Restore(t.Context(), from, file(s).path)
		ok(t, err)
		if made.Jobs != 1 || made.OpenImages != 2 || before == "" {
			t.Errorf("restored %+v; the old store is at %q", made, before)
		}
		again, err := OpenSQLite(t.Context(), file(s).path, quiet)
		ok(t, err)
		if _, err := again.Get(t.Context(), "new"); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("the log of the old store was applied: %v", err)
		}
		if _, changed, err := again.Cancel(t.Context(), "old", time.Now()); err != nil || !changed {
			t.Errorf("cancelled: %t, %v", changed, err)
		}
		names[again.ID()] = true
		ok(t, again.Close())
	}
	if len(names) != 2 {
		t.Errorf("the restored stores are named %v", names)
	}
	asides, err := filepath.Glob(file(s).path + ".before-*")
	if err != nil || len(asides) < 2 {
		t.Errorf("the old files are %q, %v", asides, err)
	}

	// To a folder without a store.
	fresh := filepath.Join(t.TempDir(), "data", "jobs.db")
	if made, before, err := Restore(t.Context(), from, fresh); err != nil || made.Jobs != 1 || before != "" {
		t.Errorf("restored %+v over %q, %v", made, before, err)
	}
	// An invalid copy does not move the existing store.
	text := filepath.Join(t.TempDir(), "text")
	ok(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	if _, before, err := Restore(t.Context(), text, fresh); err == nil || before != "" {
		t.Errorf("a text file was restored, over %q", before)
	}
	if _, before, err := Restore(t.Context(), fresh, fresh); err == nil || before != "" {
		t.Errorf("a store was restored over itself: %q", before)
	}
	again, err := OpenSQLite(t.Context(), fresh, quiet)
	ok(t, err)
	if _, err := again.Get(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	ok(t, again.Close())
}
