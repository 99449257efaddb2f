// Package watchfolder finds the images in a folder and its subfolders that are complete.
//
// A file is ready when two polls in a row show the same size and time, and it ends as a complete JPEG or PNG does. A file
// that does not, such as a JPEG with something appended, is ready when it has not changed for a minute. Its size and time are
// compared only with earlier ones of the same file, so the clock of a file server does not matter.
//
// Files count as images by their names: .jpg, .jpeg, .jpe, .jfif and .png, in any case. Files and folders that other programs
// keep for themselves are left out: names that start with a dot, @eaDir, *.tmp, *.part and *.crdownload. So are
// symbolic links, because a link to a folder may lead in a circle, and a link to a file to a file that
// does not belong to this folder.
//
// Scan reads the whole folder each time. That is the only way that works on every file system: SMB and NFS report no changes
// that other machines make. A Watcher only makes the next Scan start earlier.
package watchfolder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Settle is the least time between two polls that count as two.
const Settle = time.Second

// Quiet is the time without a change after which a file is ready, even if it does not end as an image.
const Quiet = time.Minute

// Folder is a folder that is scanned again and again.
type Folder struct {
	Dir  string        // must not be a symbolic link
	Poll time.Duration // planned time between two scans

	// Known reports whether a file needs no attention: it has ended in this state, or is being sent.
	Known func(File) bool

	seen  map[string]*sighting
	round int
}

// File is a file that was found.
type File struct {
	Path string // relative to the folder, with slashes
	Size int64
	Time time.Time // of its last modification, in UTC
}

// Problem is a file or folder that cannot be read.
type Problem struct {
	Path string
	Err  error
}

// Scan is what one look at the folder found.
type Scan struct {
	Ready    []File    // complete files that are not known, in the order of their paths
	Waiting  int       // number of files that may still be written
	Others   int       // number of files that are no images
	Problems []Problem // files and folders that cannot be read
	Folders  []string  // the folder and its subfolders
}

// sighting is a file that is not known, as earlier scans found it.
type sighting struct {
	size     int64
	time     time.Time
	since    time.Time // of the first scan that found it in this state
	cut      bool      // it does not end as an image
	complete bool
	round    int
}

// errName is a file name that is not UTF-8. JSON, in which the journal and the gateway keep it, cannot represent it.
var errName = errors.New("its name is not UTF-8")

// Scan looks at the folder. It returns an error only if the folder itself cannot be read or ctx is done.
func (f *Folder) Scan(ctx context.Context, now time.Time) (Scan, error) {
	if f.seen == nil {
		f.seen = map[string]*sighting{}
	}
	f.round++
	var s Scan
	err := filepath.WalkDir(f.Dir, func(full string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rel, relErr := filepath.Rel(f.Dir, full)
		if relErr != nil {
			return relErr
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".":
			s.Folders = append(s.Folders, full)
			return err
		case ignored(d.Name()):
			if d.IsDir() {
				return fs.SkipDir
			}
		case err != nil:
			if !errors.Is(err, fs.ErrNotExist) {
				s.Problems = append(s.Problems, Problem{rel, err})
			}
			return fs.SkipDir
		case d.IsDir():
			s.Folders = append(s.Folders, full)
		case !d.Type().IsRegular() || !IsImage(rel):
			s.Others++
		case !utf8.ValidString(rel):
			s.Problems = append(s.Problems, Problem{strings.ToValidUTF8(rel, "\uFFFD"), errName})
		default:
			f.look(&s, rel, d, now)
		}
		return nil
	})
	for name, sg := range f.seen {
		if sg.round != f.round {
			delete(f.seen, name)
		}
	}
	return s, err
}

// look examines one file.
func (f *Folder) look(s *Scan, rel string, d fs.DirEntry, now time.Time) {
	info, err := d.Info()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.Problems = append(s.Problems, Problem{rel, err})
		}
		return
	}
	file := FileOf(rel, info)
	if f.Known(file) {
		return
	}
	sg := f.seen[rel]
	if sg == nil || sg.size != file.Size || !sg.time.Equal(file.Time) {
		sg = &sighting{size: file.Size, time: file.Time, since: now}
		f.seen[rel] = sg
	}
	sg.round = f.round
	age := now.Sub(sg.since)
	if !sg.complete && !sg.cut && age >= min(f.Poll, Settle) {
		end, err := endsAsImage(filepath.Join(f.Dir, filepath.FromSlash(rel)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return
		case err != nil && (errors.Is(err, fs.ErrPermission) || age >= Quiet):
			// Windows refuses to open a file that another program is writing: that error ends by itself.
			s.Problems = append(s.Problems, Problem{rel, err})
			return
		case err == nil:
			sg.complete, sg.cut = end, !end
		}
	}
	if sg.complete || sg.cut && age >= Quiet {
		s.Ready = append(s.Ready, file)
	} else {
		s.Waiting++
	}
}

// FileOf returns the file with this path. A time that JSON cannot represent becomes the zero time.
func FileOf(rel string, info fs.FileInfo) File {
	t := info.ModTime().UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		t = time.Time{}
	}
	return File{rel, info.Size(), t}
}

// IsImage reports whether the name has the extension of an image.
func IsImage(name string) bool {
	return slices.Contains([]string{".jpg", ".jpeg", ".jpe", ".jfif", ".png"}, strings.ToLower(path.Ext(name)))
}

// ignored reports whether other programs keep a file or folder of this name for themselves: macOS (._x), Synology (@eaDir),
// browsers, and programs that copy, such as Syncthing (.syncthing.x).
func ignored(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".tmp", ".part", ".crdownload":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.EqualFold(name, "@eaDir")
}

// The ends of complete files: the EOI marker of JPEG, and the whole IEND chunk of PNG.
var ends = [][]byte{{0xff, 0xd9}, []byte("\x00\x00\x00\x00IEND\xaeB`\x82")}

// endsAsImage reports whether the file ends as a complete JPEG or PNG.
func endsAsImage(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	last := make([]byte, min(info.Size(), 12))
	if _, err := f.ReadAt(last, info.Size()-int64(len(last))); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return slices.ContainsFunc(ends, func(end []byte) bool { return bytes.HasSuffix(last, end) }), nil
}

// Contains reports whether a path is the folder or lies in it, however it is written: it compares the folders themselves and
// not their names, so that links and the case of letters do not matter. The path need not exist yet.
func Contains(dir, name string) (bool, error) {
	folder, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	name, err = filepath.Abs(name)
	if err != nil {
		return false, err
	}
	// The part that exists is resolved first: the parent of a link is not the parent of its target.
	for rest := name; ; rest = filepath.Dir(rest) {
		resolved, err := filepath.EvalSymlinks(rest)
		if err == nil {
			name = resolved
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || rest == filepath.Dir(rest) {
			return false, err
		}
		if info, err := os.Lstat(rest); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return false, &fs.PathError{Op: "open", Path: rest, Err: errors.New("the link leads nowhere")}
		}
	}
	for {
		info, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		if os.SameFile(folder, info) {
			return true, nil
		}
		parent := filepath.Dir(name)
		if parent == name {
			return false, nil
		}
		name = parent
	}
}
