package mirror_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/mirror"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text returns a function that writes a text.
func text(content string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}
}

// put writes files given as pairs of paths and contents.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

// expect compares the files in a folder, temporary ones included.
func expect(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		got[filepath.ToSlash(rel)] = string(data)
		return err
	}))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("files:\n%q\nwant\n%q", got, want)
	}
}

func digest(content string) journal.Digest { return sha256.Sum256([]byte(content)) }

// TestWrite verifies that a file is written into new folders, that only the file that we wrote is replaced, and that a
// foreign file keeps its name.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	written := map[string]journal.Digest{}
	ours := func(rel string) (journal.Digest, bool) { d, ok := written[rel]; return d, ok }
	write := func(rel, content, want string) {
		t.Helper()
		got, d, err := mirror.Write(dir, rel, text(content), ours)
		if err != nil || got != want || d != digest(content) {
			t.Errorf("%s: %q, %s, %v, want %q", rel, got, d, err, want)
		}
		written[got] = d
	}
	write("a/b/c.jpg", "1", "a/b/c.jpg")
	write("a/b/c.jpg", "2", "a/b/c.jpg") // ours is replaced
	put(t, dir, map[string]string{"foreign.jpg": "X", "foreign (2).jpg": "Y"})
	write("foreign.jpg", "3", "foreign (3).jpg")
	write("foreign.jpg", "4", "foreign (3).jpg") // ours, under the name that it got
	put(t, dir, map[string]string{"a/b/c.jpg": "edited"})
	write("a/b/c.jpg", "5", "a/b/c (2).jpg") // no longer ours
	put(t, dir, map[string]string{"same.jpg": "6"})
	write("same.jpg", "6", "same.jpg")
	must(t, os.Symlink("nowhere", filepath.Join(dir, "link.jpg")))
	write("link.jpg", "7", "link (2).jpg")
	must(t, os.Remove(filepath.Join(dir, "link.jpg")))
	expect(t, dir, map[string]string{
		"a/b/c.jpg": "edited", "a/b/c (2).jpg": "5", "foreign.jpg": "X", "foreign (2).jpg": "Y", "foreign (3).jpg": "4",
		"same.jpg": "6", "link (2).jpg": "7",
	})
}

// TestWriteBreaksOff verifies that a file whose content breaks off does not appear, that what was there stays, and that what a
// killed process left is replaced.
func TestWriteBreaksOff(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.jpg": "old"})
	mine := func(string) (journal.Digest, bool) { return digest("old"), true }
	broken := errors.New("broken")
	for range 2 {
		if _, _, err := mirror.Write(dir, "a.jpg", func(w io.Writer) error {
			_, err := io.WriteString(w, "ne")
			return errors.Join(err, broken)
		}, mine); !errors.Is(err, broken) {
			t.Errorf("error: %v", err)
		}
		expect(t, dir, map[string]string{"a.jpg": "old"})
	}
	// The name is that of the temporary file of a.jpg.
	var left string
	_, _, _ = mirror.Write(dir, "a.jpg", func(io.Writer) error {
		names, err := filepath.Glob(filepath.Join(dir, ".imagebatch-*.tmp"))
		if err != nil || len(names) != 1 {
			t.Fatalf("temporary files: %q, %v", names, err)
		}
		left = names[0]
		return broken
	}, mine)
	must(t, os.WriteFile(left, []byte("half a file"), 0o600))
	if _, _, err := mirror.Write(dir, "a.jpg", text("new"), mine); err != nil {
		t.Error(err)
	}
	expect(t, dir, map[string]string{"a.jpg": "new"})
}

// TestMove verifies that a file is moved into new folders, that no file is replaced, and that a move that a crash had
// interrupted is finished.
func TestMove(t *testing.T) {
	for name, otherFileSystem := range map[string]bool{"same file system": false, "other file system": true} {
		t.Run(name, func(t *testing.T) {
			in, done := t.TempDir(), t.TempDir()
			if otherFileSystem {
				done = otherDir(t, in)
			}
			move := func(rel, want string) {
				t.Helper()
				if got, err := mirror.Move(filepath.Join(in, rel), done, rel); err != nil || got != want {
					t.Errorf("%s: %q, %v, want %q", rel, got, err, want)
				}
			}
			put(t, in, map[string]string{"a/b.jpg": "1", "c.jpg": "2", "d.jpg": "3"})
			put(t, done, map[string]string{"c.jpg": "old", "d.jpg": "3"})
			then := time.Date(2017, 10, 27, 12, 0, 0, 0, time.UTC)
			must(t, os.Chtimes(filepath.Join(in, "a/b.jpg"), then, then))
			move("a/b.jpg", "a/b.jpg")
			move("c.jpg", "c (2).jpg")
			move("d.jpg", "d.jpg") // as after a crash between copying and removing
			expect(t, in, map[string]string{})
			expect(t, done, map[string]string{"a/b.jpg": "1", "c.jpg": "old", "c (2).jpg": "2", "d.jpg": "3"})
			if info, err := os.Stat(filepath.Join(done, "a/b.jpg")); err != nil || !info.ModTime().Equal(then) {
				t.Errorf("time of the moved file: %v, %v, want %v", info.ModTime(), err, then)
			}
			if _, err := mirror.Move(filepath.Join(in, "gone.jpg"), done, "gone.jpg"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file that is gone: %v", err)
			}
			if !otherFileSystem {
				put(t, in, map[string]string{"e.jpg": "5"})
				must(t, os.Link(filepath.Join(in, "e.jpg"), filepath.Join(done, "e.jpg"))) // as after a crash between the two steps
				move("e.jpg", "e.jpg")
				expect(t, in, map[string]string{})
			}
		})
	}
}

// otherDir returns a folder on another file system than dir.
func otherDir(t *testing.T, dir string) string {
	t.Helper()
	probe := filepath.Join(dir, "probe")
	must(t, os.WriteFile(probe, nil, 0o600))
	defer os.Remove(probe)
	for _, root := range []string{"/dev/shm", "/run", "/var/tmp"} {
		other, err := os.MkdirTemp(root, "imagebatch-") //nolint:usetesting // It must be on another file system.
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(other) })
		if os.Link(probe, filepath.Join(other, "probe")) != nil {
			return other
		}
		must(t, os.Remove(filepath.Join(other, "probe")))
	}
	t.Skip("there is no second file system")
	return ""
}

func TestHas(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.jpg": "1"})
	if !mirror.Has(dir, "a.jpg", digest("1")) || mirror.Has(dir, "a.jpg", digest("2")) || mirror.Has(dir, "b.jpg", digest("1")) || mirror.Has(dir, "b.jpg", journal.Digest{}) {
		t.Error("Has is wrong about a.jpg or b.jpg")
	}
}
