package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlite"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// childPath names the database of a child that writes until it is killed.
const childPath = "SQLITE_TEST_CHILD_PATH"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	quiet = slog.New(slog.DiscardHandler)
	t0    = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
)

func TestStore(t *testing.T) {
	jobtest.Run(t, func(t *testing.T) job.Store {
		return open(t, filepath.Join(t.TempDir(), "jobs.db"))
	})
}

// open opens the store and closes it with the test.
func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, quiet)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newJob makes a job of n images whose originals are stored.
func newJob(id string, n int) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		trace := pipeline.NewTraceID(id, i)
		images[i] = job.Image{
			OriginalFilename: "holiday photograph.jpg", KeyName: "holiday photograph.jpg",
			Original: job.Original{
				Path:        pipeline.OriginalKey(trace, "holiday photograph.jpg"),
				ContentType: "image/jpeg", Size: 400_000, SHA256: strings.Repeat("a1b2", 16),
			},
		}
	}
	return job.New(id, images, t0)
}

func settled(ref job.Ref) job.Transition {
	return job.Settle(pipeline.Ended(pipeline.NewEnvelope(ref.JobID, ref.Index, t0), "p/"+ref.JobID, t0), t0)
}

// writeUntilKilled creates and settles jobs from eight goroutines and prints
// what the store has acknowledged.
func writeUntilKilled(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path, quiet)
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

// TestKill kills a process in the middle of its writes. The next one opens the
// database at once and finds everything that was acknowledged.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	created, settled := map[string]bool{}, map[string]bool{}
	for round := 1; round <= 2; round++ {
		child := exec.CommandContext(t.Context(), os.Args[0])
		if round == 2 {
			path = filepath.Join(t.TempDir(), "second", "jobs.db")
			clear(created)
			clear(settled)
		}
		child.Env = append(os.Environ(), childPath+"="+path)
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
				// It is alive and has the database to itself.
				_, err := sqlite.Open(t.Context(), path, quiet)
				if err == nil || !strings.Contains(err.Error(), "jobs.db is in use by another gateway") {
					t.Errorf("a second gateway: %v", err)
				}
			}
			if n == 200*round {
				ok(t, child.Process.Kill())
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Success() {
			t.Fatal("the child ended by itself")
		}
		if len(created) < 20 {
			t.Fatalf("the child created %d jobs", len(created))
		}

		s := open(t, path)
		for id := range created {
			j, err := s.Get(t.Context(), id)
			ok(t, err)
			if settled[id] && (j.Completed != 2 || j.Revision != 3 || j.Images[1].Status != job.Completed) {
				t.Errorf("acknowledged, but lost: %+v", j)
			}
		}
		counts, err := s.Count(t.Context())
		ok(t, err)
		jobs, err := s.List(t.Context(), job.Everybody, job.Cursor{}, counts.Jobs+1)
		ok(t, err)
		if len(jobs) != counts.Jobs || counts.Jobs < len(created) {
			t.Errorf("%d jobs acknowledged, %d listed, %d counted", len(created), len(jobs), counts.Jobs)
		}
		for _, j := range jobs {
			if len(j.Images) != 3 || j.Completed > 2 {
				t.Errorf("half a job: %+v", j)
			}
		}
	}
}

func TestOneGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := open(t, path)
	_, err := sqlite.Open(t.Context(), path, quiet)
	if err == nil || !strings.Contains(err.Error(), "jobs.db is in use by another gateway") {
		t.Fatalf("a second store on the file: %v", err)
	}
	ok(t, s.Create(t.Context(), newJob("a", 1))) // The first one is not disturbed.
	ok(t, s.Close())
	ok(t, open(t, path).Ready(t.Context()))
}

// TestRestart has a store opened again go on where it was, with all leases
// ended.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "jobs.db")
	first := open(t, path)
	far := t0.Add(time.Hour)
	fetch := job.New("fetch", []job.Image{{URL: "https://example.com/a.jpg"}}, t0)
	fetch.Lease = job.Lease{Owner: "a", Until: far}
	ok(t, first.Create(t.Context(), newJob("inline", 2)))
	ok(t, first.Reserve(t.Context(), "reserved", job.Lease{Owner: "a", Epoch: 1, Until: far}, job.Key{}))
	ok(t, first.Create(t.Context(), fetch))
	ok(t, first.Renew(t.Context(), "a", far))
	want, err := first.Count(t.Context())
	ok(t, err)
	ok(t, first.Close())
	ok(t, first.Close())

	second := open(t, path)
	if first.ID() != second.ID() {
		t.Errorf("the store was called %s and is called %s", first.ID(), second.ID())
	}
	got, err := second.Count(t.Context())
	ok(t, err)
	if got != want || got.Unsent != 2 || got.OpenImages != 3 {
		t.Errorf("counts were %+v and are %+v", want, got)
	}
	claimed, err := second.Claim(t.Context(), "a", t0, far, 9)
	ok(t, err)
	var ids []string
	for _, j := range claimed {
		ids = append(ids, j.ID)
	}
	if !slices.Equal(ids, []string{"reserved", "fetch"}) {
		t.Errorf("claimed at once: %v", ids)
	}
	if claimed[0].Lease.Epoch != 2 || claimed[1].Lease.Epoch != 1 {
		t.Errorf("leases %+v and %+v", claimed[0].Lease, claimed[1].Lease)
	}
}

func TestPath(t *testing.T) {
	for _, name := range []string{"jobs.db", "a b%20c.db", "what?#&mode=memory.db", "fotos-ü-写真.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
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
		if _, err := sqlite.Open(t.Context(), path, quiet); err == nil {
			t.Error("a text was opened as a database")
		}
		if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, junk) {
			t.Errorf("the text was changed: %v", err)
		}
	})
	t.Run("a folder that can't be made", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		ok(t, os.WriteFile(file, nil, 0o600))
		if _, err := sqlite.Open(t.Context(), filepath.Join(file, "jobs.db"), quiet); err == nil {
			t.Error("a file was taken for a folder")
		}
	})
}
