package unfinished_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/unfinished"
)

// victim is the variable that lets the test binary be a run that is killed.
const victim = "UNFINISHED_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		if err := write(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("written")
		_, _ = fmt.Scanln() // until it is killed
		return
	}
	os.Exit(m.Run())
}

// write starts a run that leaves two files.
func write(dir string) error {
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	r := unfinished.Start(folder, true)
	for _, sub := range []string{".", "a/b"} {
		if err := folder.WriteFile(filepath.Join(sub, r.Name()), []byte("half"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// run is a run in a process of its own.
type run struct{ *exec.Cmd }

func start(t *testing.T, dir string) *run {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // It is this test.
	cmd.Env = append(os.Environ(), victim+"="+dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "written\n" {
		t.Fatalf("the run prints %q, %v", line, err)
	}
	return &run{cmd}
}

func (r *run) kill(t *testing.T) {
	t.Helper()
	if err := r.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.Wait() // The error reports the kill.
}

// files returns the paths of all files below the folder.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	if err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			list = append(list, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func folder(t *testing.T) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return dir, root
}

// TestKilled verifies that a run removes the files of a run that was killed, in all folders, and neither those of a run that
// lives nor files of other programs.
func TestKilled(t *testing.T) {
	dir, root := folder(t)
	mine := []string{".imagebatch-ABCDEFGHIJ-ABCDEFGHIJ.tmp", ".imagebatch-0123456789abcdef.tmp", "a/photo.jpg", "a/.imagebatch-x.tmp"}
	for _, name := range mine {
		if err := root.WriteFile(name, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	living := start(t, dir)
	before := files(t, dir)
	for range 3 {
		start(t, dir).kill(t)
	}
	if got := files(t, dir); len(got) <= len(before) {
		t.Fatalf("killed runs have left no file: %q", got)
	}
	r := unfinished.Start(root, true)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, before) {
		t.Errorf("files\n%q, want\n%q", got, before)
	}
	living.kill(t)
	r = unfinished.Start(root, true)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(mine)
	got := files(t, dir)
	if slices.Sort(got); !slices.Equal(got, mine) {
		t.Errorf("files\n%q, want\n%q", got, mine)
	}
}

// TestFolderOnly verifies that a run that writes into one folder does not search its subfolders.
func TestFolderOnly(t *testing.T) {
	dir, root := folder(t)
	start(t, dir).kill(t)
	r := unfinished.Start(root, false)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 1 || filepath.Dir(got[0]) != "a/b" {
		t.Errorf("files %q, want the one in a/b", got)
	}
}

// TestConcurrentRuns verifies that runs that start and end at the same time keep their files.
func TestConcurrentRuns(t *testing.T) {
	dir, root := folder(t)
	start(t, dir).kill(t)
	done := make(chan error)
	const runs = 16
	for range runs {
		go func() {
			r := unfinished.Start(root, true)
			name := filepath.Join("a", r.Name())
			err := root.WriteFile(name, nil, 0o600)
			for range 3 {
				if other := unfinished.Start(root, true).Close(); err == nil {
					err = other
				}
			}
			if err == nil {
				err = root.Remove(name)
			}
			if closed := r.Close(); err == nil {
				err = closed
			}
			done <- err
		}()
	}
	for range runs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files are left: %q", got)
	}
}
