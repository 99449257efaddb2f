// Package mirror writes files into a folder so that no crash leaves half a file and no file of another program is lost.
//
// Files have the same relative paths as in another folder. A file that must not be replaced keeps its name, and the new one
// becomes "name (2).jpg". A file appears under its name only when it is complete and on disk: until then, it has a temporary
// name that starts with ".imagebatch-" in the same folder. A name is taken by a hard link, which never replaces a file. On a
// file system without hard links, such as exFAT, the name is checked and then taken, so that only a file that another program
// creates between the two could be replaced.
//
// Two processes must not write to one folder at the same time.
package mirror

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/durable"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// maxNames is the number of names that are tried for a file.
const maxNames = 1000

// Write writes a file at a relative path with slashes below dir, and returns the path that it got and its digest. The content
// is what fill writes. A file that is there already is replaced if ours returns its digest for its path; if it has the same
// content, it stays as it is.
func Write(dir, rel string, fill func(io.Writer) error, ours func(rel string) (journal.Digest, bool)) (string, journal.Digest, error) {
	temporary, digest, err := create(dir, rel, fill)
	if err != nil {
		return "", journal.Digest{}, err
	}
	got, err := name(rel, func(candidate string) (bool, error) {
		full := filepath.Join(dir, filepath.FromSlash(candidate))
		taken, err := take(temporary, full)
		if err != nil || taken {
			return taken, err
		}
		before, err := digestOf(full)
		if err != nil {
			return false, err
		}
		if before == digest {
			return true, nil
		}
		if expected, mine := ours(candidate); mine && before == expected {
			return true, os.Rename(temporary, full)
		}
		return false, nil
	})
	err = errors.Join(err, remove(temporary))
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(temporary))
	}
	if err != nil {
		return "", journal.Digest{}, err
	}
	return got, digest, nil
}

// Move moves the file source to a relative path below dir and returns the path that it got. It never replaces a file. If the
// same content is there already, the source is only removed. To another file system, it copies, compares the copy, and then
// removes the source.
func Move(source, dir, rel string) (string, error) {
	if err := makeFolder(filepath.Dir(filepath.Join(dir, filepath.FromSlash(rel)))); err != nil {
		return "", err
	}
	from := source
	got, err := name(rel, func(candidate string) (bool, error) {
		full := filepath.Join(dir, filepath.FromSlash(candidate))
		taken, err := take(from, full)
		if errors.Is(err, errOtherFileSystem) {
			if from, err = duplicate(source, dir, rel); err == nil {
				taken, err = take(from, full)
			}
		}
		if err != nil || taken {
			return taken, err
		}
		return same(source, full)
	})
	if from != source {
		err = errors.Join(err, remove(from))
	}
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(filepath.Join(dir, filepath.FromSlash(got))))
	}
	if err != nil {
		return "", err
	}
	if err := remove(source); err != nil {
		return "", err
	}
	return got, durable.SyncFolder(filepath.Dir(source))
}

// name calls try with rel, and then with further names, until it returns true, and returns that name.
func name(rel string, try func(string) (bool, error)) (string, error) {
	ext := path.Ext(rel)
	for n := 1; n <= maxNames; n++ {
		candidate := rel
		if n > 1 {
			candidate = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(rel, ext), n, ext)
		}
		if done, err := try(candidate); err != nil || done {
			return candidate, err
		}
	}
	return "", fmt.Errorf("%s: %d files have its name", rel, maxNames)
}

var errOtherFileSystem = errors.New("on another file system")

// take gives a file a name that no other file has. It returns false if one has it. If the file has two names afterwards, the
// caller removes the first.
func take(from, to string) (bool, error) {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	// There are no hard links here, or not for this file.
	if _, err := os.Lstat(to); err == nil {
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.Rename(from, to); err != nil {
		if isOtherFileSystem(err) {
			return false, errOtherFileSystem
		}
		return false, err
	}
	return true, nil
}

// create writes a temporary file next to rel and syncs it. Its name depends only on rel, so that the next attempt after a
// crash replaces it.
func create(dir, rel string, fill func(io.Writer) error) (string, journal.Digest, error) {
	full := filepath.Join(dir, filepath.FromSlash(rel))
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return "", journal.Digest{}, err
	}
	hashed := sha256.Sum256([]byte(rel))
	temporary := filepath.Join(filepath.Dir(full), fmt.Sprintf(".imagebatch-%x.tmp", hashed[:8]))
	if err := remove(temporary); err != nil {
		return "", journal.Digest{}, err
	}
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) //nolint:gosec // The umask decides, as for every program that writes images.
	if err != nil {
		return "", journal.Digest{}, err
	}
	hash := sha256.New()
	err = fill(io.MultiWriter(f, hash))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", journal.Digest{}, errors.Join(err, remove(temporary))
	}
	return temporary, journal.Digest(hash.Sum(nil)), nil
}

// duplicate copies a file to a temporary name, compares the copy as it is on disk, and returns its name.
func duplicate(source, dir, rel string) (string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return "", err
	}
	temporary, digest, err := create(dir, rel, func(w io.Writer) error {
		f, err := os.Open(source)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if err != nil {
		return "", err
	}
	written, err := digestOf(temporary)
	if err == nil {
		now, statErr := os.Stat(source)
		if err = statErr; err == nil && (now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime())) {
			err = fmt.Errorf("%s: it changed while it was copied", source)
		}
	}
	if err == nil && written != digest {
		err = fmt.Errorf("%s: the copy differs from the file", temporary)
	}
	if err == nil {
		err = errors.Join(os.Chmod(temporary, info.Mode().Perm()), os.Chtimes(temporary, info.ModTime(), info.ModTime()))
	}
	if err != nil {
		return "", errors.Join(err, remove(temporary))
	}
	return temporary, nil
}

// same reports whether two names are those of one file, or of files with the same content.
func same(a, b string) (bool, error) {
	infoA, err := os.Lstat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Lstat(b)
	if err != nil {
		return false, err
	}
	if !infoB.Mode().IsRegular() || infoA.Size() != infoB.Size() {
		return false, nil
	}
	if os.SameFile(infoA, infoB) {
		return true, nil
	}
	digestA, err := digestOf(a)
	if err != nil {
		return false, err
	}
	digestB, err := digestOf(b)
	return err == nil && digestA == digestB, err
}

// digestOf returns the digest of a regular file, and the zero Digest for anything else.
func digestOf(name string) (journal.Digest, error) {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return journal.Digest{}, err
	}
	f, err := os.Open(name)
	if err != nil {
		return journal.Digest{}, err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return journal.Digest{}, err
	}
	return journal.Digest(hash.Sum(nil)), nil
}

// Has reports whether the file below dir is there with this content.
func Has(dir, rel string, digest journal.Digest) bool {
	now, err := digestOf(filepath.Join(dir, filepath.FromSlash(rel)))
	return err == nil && now == digest && digest != journal.Digest{}
}

// makeFolder creates a folder and its parents, so that they survive a power failure.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // The umask decides.
		return err
	}
	return durable.SyncFolder(filepath.Dir(dir))
}

// remove removes a file that may not exist.
func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
