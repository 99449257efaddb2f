package sqlstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// childVariable makes the test program run as the child process that writes to childPath, in
// its working directory, until it is killed.
const (
	childVariable = "SQLITE_TEST_CHILD"
	childPath     = "data/jobs.db"
)

// openFile opens the store in the file and closes it at the end of the test.
func openFile(t *testing.T, path string) *Store {
	t.Helper()
	return testDatabase{"sqlite", path}.mustOpen(t)
}

// writeUntilKilled creates and settles jobs from eight goroutines and prints the acknowledged
// writes.
func writeUntilKilled() error {
	ctx := context.Background()
	s, err := OpenSQLite(ctx, childPath, quiet)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				j := newJob(fmt.Sprintf("job-%d-%d", w, i), 3)
				if err := s.Create(ctx, j); err != nil {
					failed <- err
				}
				fmt.Printf("created %s\n", j.ID)
				for index := range 2 {
					ref := job.Ref{JobID: j.ID, Index: index}
					if _, _, err := s.Change(ctx, ref, settled(ref), t0); err != nil {
						failed <- err
					}
				}
				fmt.Printf("settled %s\n", j.ID)
			}
		}()
	}
	return <-failed
}

// TestKill kills a process in the middle of its writes and verifies that the next one opens
// the database immediately and finds all acknowledged writes.
func TestKill(t *testing.T) {
	for round := 1; round <= 2; round++ {
		created, settled := map[string]bool{}, map[string]bool{}
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Dir = t.TempDir()
		path := filepath.Join(child.Dir, childPath)
		child.Env = append(os.Environ(), childVariable+"=1")
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		ok(t, err)
		ok(t, child.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			what, id, _ := strings.Cut(lines.Text(), " ")
			switch what {
			case "created":
				created[id] = true
			case "settled":
				settled[id] = true
			}
			if n == 50 {
				// The child is alive and has exclusive use of the database.
				_, err := OpenSQLite(t.Context(), path, quiet)
				if err == nil || !strings.Contains(err.Error(), "jobs.db is in use by another gateway") {
					t.Errorf("a second gateway: %v", err)
				}
			}
			if n == 200*round {
				ok(t, child.Process.Kill())
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Success() {
			t.Fatal("the child exited by itself")
		}
		if len(created) < 20 {
			t.Fatalf("the child created %d jobs", len(created))
		}

		s := openFile(t, path)
		for id := range created {
			j, err := s.Get(t.Context(), id)
			ok(t, err)
			if settled[id] && (j.Completed != 2 || j.Revision != 3 || j.Images[1].Status != job.Completed) {
				t.Errorf("acknowledged, but lost: %+v", j)
			}
		}
		counts, err := s.Count(t.Context())
		ok(t, err)
		jobs := listAll(t, s)
		if len(jobs) != counts.Jobs || counts.Jobs < len(created) {
			t.Errorf("%d jobs acknowledged, %d listed, %d counted", len(created), len(jobs), counts.Jobs)
		}
		for _, j := range jobs {
			if len(j.Images) != 3 || j.Completed > 2 {
				t.Errorf("incomplete job: %+v", j)
			}
		}
	}
}

func TestOneGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := openFile(t, path)
	_, err := OpenSQLite(t.Context(), path, quiet)
	if err == nil || !strings.Contains(err.Error(), "jobs.db is in use by another gateway") {
		t.Fatalf("a second store on the file: %v", err)
	}
	ok(t, s.Create(t.Context(), newJob("a", 1))) // the first store still works
	ok(t, s.Close())
	ok(t, openFile(t, path).Ready(t.Context()))
}

func TestPath(t *testing.T) {
	for _, name := range []string{"jobs.db", "a b%20c.db", "what?#&mode=memory.db", "fotos-ü-写真.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := openFile(t, path)
		ok(t, s.Create(t.Context(), newJob("a", 1)))
		for _, file := range []string{path, path + "-wal"} {
			info, err := os.Stat(file)
			ok(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", file, info.Mode())
			}
		}
	}
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "jobs.db")
		junk := []byte(strings.Repeat("no database ", 1000))
		ok(t, os.WriteFile(path, junk, 0o600))
		if _, err := OpenSQLite(t.Context(), path, quiet); err == nil {
			t.Error("a text file was opened as a database")
		}
		if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, junk) {
			t.Errorf("the text file was changed: %v", err)
		}
	})
	t.Run("a folder that can't be created", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		ok(t, os.WriteFile(file, nil, 0o600))
		if _, err := OpenSQLite(t.Context(), filepath.Join(file, "jobs.db"), quiet); err == nil {
			t.Error("a file was accepted as a folder")
		}
	})
}
