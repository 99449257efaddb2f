package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBackupAndRestore creates a backup with the commands of docs/operations.md while
// batches arrive, and restores it. It verifies that jobs open at the backup end, whatever
// the broker and the buckets contain, and that later jobs are unknown and cause no errors.
func TestBackupAndRestore(t *testing.T) {
	for _, c := range []struct {
		name, database string
		fresh          bool // whether the broker is new; otherwise it has delivered all its messages
	}{
		{"sqlite on a new broker", "SQLite", true},
		{"sqlite on the same broker", "SQLite", false},
		{"postgres on the same broker", "PostgreSQL", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			broker := ownVhost(t)
			env := serverEnv(t, broker)
			if c.database == "PostgreSQL" {
				env = append(env, "DATABASE_URL="+ownDatabase(t))
			}
			work := t.TempDir()
			follow := func(section string) {
				t.Helper()
				dir, err := binaries()
				if err != nil {
					t.Fatal(err)
				}
				text := pick(t, examples(t, operations), section+" "+c.database, "sh")
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text) //nolint:gosec // The document is ours.
				cmd.Dir = work
				cmd.Env = append(env, "PATH="+dir+":"+os.Getenv("PATH"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s\n%s", err, text, out)
				}
			}

			gateway := launch(t, "gateway", env...)
			s := &system{gateway, nil}
			before := []string{s.submit(t, inline("a.jpg", photo(t))), s.submit(t, inline("b.png", goImage(t, "video-001.png")))}
			stop := s.load(t)
			follow("Back up")
			later := s.submit(t, inline("later.jpg", photo(t)))
			during := stop()
			var workers []*process
			if !c.fresh {
				workers = append(workers, launch(t, "analyzer", env...), launch(t, "processor", env...))
				s.allComplete(t, append(append(before, during...), later))
			}
			for _, p := range append(workers, gateway) {
				if err := p.end(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			}
			if c.fresh {
				if err := deleteVhost(t.Context(), broker); err != nil {
					t.Fatal(err)
				}
				if _, err := makeVhost(t.Context(), vhostOf(broker)); err != nil {
					t.Fatal(err)
				}
			}
			follow("Restore")

			gateway.start()
			gateway.awaitReady()
			for _, p := range workers {
				p.start()
			}
			if c.fresh {
				launch(t, "analyzer", env...)
				launch(t, "processor", env...)
			}
			s.allComplete(t, before)
			known := 0
			for _, id := range during { // the backup contains some of them
				if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id, nil, nil); status == http.StatusOK {
					known++
					s.allComplete(t, []string{id})
				}
			}
			if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+later, nil, nil); status != http.StatusNotFound {
				t.Errorf("a job created after the backup: %d", status)
			}
			out, errOut, code := command(t, append(env, "HTTP_ADDR="+gateway.addr), "gateway", "dead-letters", "list")
			if code != 0 || out != "0 dead letters\n" {
				t.Errorf("dead letters: %d, %s%s", code, out, errOut)
			}
			t.Logf("the backup contains %d of %d jobs that were created during it", known, len(during))
		})
	}
}

// ownDatabase creates a database for this test and returns its URL.
func ownDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		t.Skip("TEST_POSTGRES_URL is not set")
	}
	for _, tool := range []string{"psql", "pg_dump", "pg_restore"} {
		need(t, tool, "--version")
	}
	name := "test_" + strings.ToLower(rand.Text())
	sql := func(statement string) {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "psql", "-XAtq", "-c", statement, server) //nolint:gosec // The statements are ours.
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", statement, err, out)
		}
	}
	sql("CREATE DATABASE " + name)
	t.Cleanup(func() { sql("DROP DATABASE " + name + " WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// TestStandaloneBackup backs up the single process and restores the backup in another
// folder.
func TestStandaloneBackup(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t)
	id := s.submit(t, inline("a.jpg", photo(t)))
	end := s.ended(t, id)
	file := filepath.Join(t.TempDir(), "jobs.backup")
	if out, errOut, code := command(t, s.env, "standalone", "backup", file); code != 0 || !strings.HasPrefix(out, "copied 1 jobs with 0 open images") {
		t.Fatalf("backup: %d, %s%s", code, out, errOut)
	}
	dir := t.TempDir()
	if out, errOut, code := command(t, []string{"DATA_DIR=" + dir}, "standalone", "restore", file); code != 0 || !strings.HasPrefix(out, "restored 1 jobs") {
		t.Fatalf("restore: %d, %s%s", code, out, errOut)
	}
	other := &system{launch(t, "standalone", "DATA_DIR="+dir), nil}
	if again := other.ended(t, id); again.Images[0] != end.Images[0] {
		t.Errorf("the restored job is %+v, want %+v", again, end)
	}
}
