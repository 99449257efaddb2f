package watchfolder_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/watchfolder"
)

const (
	jpeg = "\xff\xd8\xff\xe0 image \xff\xd9"
	png  = "\x89PNG\r\n\x1a\n image \x00\x00\x00\x00IEND\xaeB`\x82"
	half = "\xff\xd8\xff\xe0 ima"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a folder with a clock of its own.
type rig struct {
	*testing.T
	dir   string
	f     *watchfolder.Folder
	now   time.Time
	known map[string]bool
	last  watchfolder.Scan
}

func setup(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir(), now: time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC), known: map[string]bool{}}
	r.f = &watchfolder.Folder{Dir: r.dir, Poll: 5 * time.Second, Known: func(f watchfolder.File) bool { return r.known[f.Path] }}
	return r
}

func (r *rig) put(name, content string) {
	r.Helper()
	full := filepath.Join(r.dir, name)
	must(r.T, os.MkdirAll(filepath.Dir(full), 0o700))
	must(r.T, os.WriteFile(full, []byte(content), 0o600))
}

// scan scans after a while and compares the paths of the ready files and the number of waiting ones.
func (r *rig) scan(after time.Duration, waiting int, ready ...string) {
	r.Helper()
	r.now = r.now.Add(after)
	var err error
	r.last, err = r.f.Scan(r.Context(), r.now)
	must(r.T, err)
	var got []string
	for _, f := range r.last.Ready {
		got = append(got, f.Path)
	}
	if !reflect.DeepEqual(got, ready) || r.last.Waiting != waiting {
		r.Errorf("%s later: ready %q, %d waiting, want %q, %d", after, got, r.last.Waiting, ready, waiting)
	}
}

// TestReady verifies when a file is ready: two polls must show the same, and it must end as an image or be quiet.
func TestReady(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", jpeg)
	r.put("sub/b.PNG", png)
	r.put("half.jpeg", half)
	r.put("empty.jpg", "")
	r.scan(0, 4)
	r.scan(100*time.Millisecond, 4) // a scan after an event is no second poll
	r.put("a.jpg", jpeg+jpeg)
	r.scan(5*time.Second, 3, "sub/b.PNG") // a.jpg has changed
	r.scan(5*time.Second, 2, "a.jpg", "sub/b.PNG")
	r.known["a.jpg"], r.known["sub/b.PNG"] = true, true
	r.scan(49*time.Second, 2)
	r.scan(time.Second, 0, "empty.jpg", "half.jpeg") // unchanged for a minute since the first scan
	r.put("half.jpeg", half+"ge")
	r.scan(5*time.Second, 1, "empty.jpg")
	r.put("half.jpeg", half+"ge \xff\xd9")
	r.scan(5*time.Second, 1, "empty.jpg")
	r.scan(5*time.Second, 0, "empty.jpg", "half.jpeg")
	if f := r.last.Ready[1]; f.Size != int64(len(half)+5) || f.Time.IsZero() {
		t.Errorf("ready file: %+v", f)
	}
	delete(r.known, "a.jpg")
	r.scan(5*time.Second, 1, "empty.jpg", "half.jpeg") // a.jpg starts again
}

// TestSameSize verifies that a change of the time alone starts the waiting again.
func TestSameSize(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", jpeg)
	r.scan(0, 1)
	must(t, os.Chtimes(filepath.Join(r.dir, "a.jpg"), r.now, r.now))
	r.scan(5*time.Second, 1)
	r.scan(5*time.Second, 0, "a.jpg")
}

// TestLeftOut verifies which files are not images of the folder.
func TestLeftOut(t *testing.T) {
	r := setup(t)
	for _, name := range []string{
		".hidden.jpg", "._a.jpg", ".syncthing.a.jpg", ".stfolder/a.jpg", "@eaDir/a.jpg", "@eadir/b.jpg", "a.jpg.tmp", "b.jpg.PART",
		"c.crdownload", "sub.tmp/d.jpg", "sub/.imagebatch.jsonl",
	} {
		r.put(name, jpeg)
	}
	r.put("notes.txt", jpeg)
	r.put("raw.NEF", jpeg)
	elsewhere := t.TempDir()
	must(t, os.WriteFile(filepath.Join(elsewhere, "linked.jpg"), []byte(jpeg), 0o600))
	must(t, os.Symlink(filepath.Join(elsewhere, "linked.jpg"), filepath.Join(r.dir, "linked.jpg")))
	must(t, os.Symlink(elsewhere, filepath.Join(r.dir, "folder")))
	must(t, os.Symlink(r.dir, filepath.Join(r.dir, "circle")))
	r.put("real.jfif", jpeg)
	r.scan(0, 1)
	r.scan(5*time.Second, 0, "real.jfif")
	if r.last.Others != 5 || len(r.last.Problems) != 0 {
		t.Errorf("%d other files, want the text, the raw file and three links; problems: %v", r.last.Others, r.last.Problems)
	}
	want := []string{r.dir, filepath.Join(r.dir, "sub")}
	if !reflect.DeepEqual(r.last.Folders, want) {
		t.Errorf("folders: %q, want %q", r.last.Folders, want)
	}
}

// TestProblems verifies that unreadable files and folders are reported and do not hide the others.
func TestProblems(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", jpeg)
	r.put("latin-\xfc.jpg", jpeg)
	r.put("z.jpg", jpeg)
	r.scan(0, 2)
	r.scan(5*time.Second, 0, "a.jpg", "z.jpg")
	if p := r.last.Problems; len(p) != 1 || p[0].Path != "latin-\uFFFD.jpg" {
		t.Errorf("problems: %v", p)
	}
	if os.Getuid() != 0 { // root may read everything
		r.put("closed/b.jpg", jpeg)
		r.put("closed.jpg", jpeg)
		must(t, os.Chmod(filepath.Join(r.dir, "closed.jpg"), 0))
		must(t, os.Chmod(filepath.Join(r.dir, "closed"), 0))
		t.Cleanup(func() { os.Chmod(filepath.Join(r.dir, "closed"), 0o700) }) //nolint:errcheck // The removal of the folder fails then.
		r.scan(5*time.Second, 1, "a.jpg", "z.jpg")
		r.scan(5*time.Second, 0, "a.jpg", "z.jpg")
		if p := r.last.Problems; len(p) != 3 || !errors.Is(p[0].Err, fs.ErrPermission) || !errors.Is(p[1].Err, fs.ErrPermission) {
			t.Errorf("problems: %v", p)
		}
	}
	must(t, os.RemoveAll(r.dir))
	if _, err := r.f.Scan(t.Context(), r.now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is gone: %v", err)
	}
}

// TestContains verifies that a folder within another is found however it is written.
func TestContains(t *testing.T) {
	root := t.TempDir()
	in := filepath.Join(root, "in")
	must(t, os.MkdirAll(filepath.Join(in, "sub"), 0o700))
	must(t, os.MkdirAll(filepath.Join(root, "out"), 0o700))
	must(t, os.Symlink(filepath.Join(in, "sub"), filepath.Join(root, "link")))
	must(t, os.Symlink(filepath.Join(root, "out"), filepath.Join(in, "away")))
	must(t, os.Symlink("nowhere", filepath.Join(root, "broken")))
	t.Chdir(in)
	for name, want := range map[string]bool{
		in: true, ".": true, "new/folder": true, "sub/../../in/new": true, "../link": true, "../link/new": true,
		root: false, "..": false, "../out": false, "../inside": false, "away": false, "away/new": false, "../new/in": false,
	} {
		if got, err := watchfolder.Contains(in, name); err != nil || got != want {
			t.Errorf("%s: %t, %v, want %t", name, got, err, want)
		}
	}
	if _, err := watchfolder.Contains(in, "../broken/new"); err == nil {
		t.Error("a link that leads nowhere was accepted")
	}
}

// TestWatcher verifies that a change in a subfolder is reported, and that a folder that is gone does no harm.
func TestWatcher(t *testing.T) {
	r := setup(t)
	r.put("sub/a.jpg", jpeg)
	w := watchfolder.Watch()
	defer w.Close()
	if w.Changed == nil {
		t.Skip("this system reports no changes")
	}
	r.scan(0, 1)
	w.Add(r.last.Folders)
	r.put("sub/b.jpg", jpeg)
	<-w.Changed
	must(t, os.RemoveAll(filepath.Join(r.dir, "sub")))
	r.scan(0, 0)
	w.Add(append(r.last.Folders, filepath.Join(r.dir, "never")))
	r.put("c.jpg", jpeg)
	<-w.Changed
}
