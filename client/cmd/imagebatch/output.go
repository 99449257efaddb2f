package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/unfinished"
)

// suffixes are what is appended to the path of a file for each of its objects, as in
// results.zip.
var suffixes = map[client.Kind]string{client.ProcessedFile: "", client.Record: ".json", client.Sidecar: ".xmp", client.Thumbnail: ".thumb.jpg"}

// parseInclude returns the objects that a list like "file,metadata" names.
func parseInclude(list []string) ([]client.Kind, error) {
	var kinds []client.Kind
	for _, name := range list {
		if _, ok := suffixes[client.Kind(name)]; !ok {
			return nil, &usageError{fmt.Errorf("--include: %q is not file, metadata, xmp or thumbnail", name)}
		}
		kinds = append(kinds, client.Kind(name))
	}
	return kinds, nil
}

// folder is where the objects of images are saved. No path leads out of it, also not through
// a symbolic link.
type folder struct {
	root    *os.Root
	force   bool             // replace any file
	journal *journal.Journal // which files are ours; nil: none
	kinds   []client.Kind
	run     *unfinished.Run

	mu    sync.Mutex // guards taken
	taken map[string]bool
}

// openFolder creates the folder if it does not exist, and removes the unfinished files of runs that were killed.
func openFolder(dir string, kinds []client.Kind, force bool) (*folder, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // as mkdir does; the umask decides
		return nil, &localError{err}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &localError{err}
	}
	return &folder{root: root, force: force, kinds: kinds, run: unfinished.Start(root, true), taken: map[string]bool{}}, nil
}

func (f *folder) close() error { return local(errors.Join(f.run.Close(), f.root.Close())) }

// errForeign is a file that must not be replaced.
var errForeign = errors.New("file exists and was not written by imagebatch; use --force to replace it")

// foreign reports whether there is a file at the path that is not ours.
func (f *folder) foreign(name string) (bool, error) {
	info, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return true, nil
	case f.force:
		return false, nil
	case f.journal == nil:
		return true, nil
	}
	record, known := f.journal.ByOutput(name)
	if !known {
		return true, nil
	}
	digest, err := f.digest(name)
	return digest != record.Outcome.Digest, err
}

func (f *folder) digest(name string) (d journal.Digest, err error) {
	file, err := f.root.Open(name)
	if err != nil {
		return d, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return d, err
	}
	return digestOf(sum), nil
}

func digestOf(h hash.Hash) (d journal.Digest) {
	h.Sum(d[:0])
	return d
}

// take returns a path for the outputs of an image that no other image of this run has: the
// wanted one, or one with a number.
func (f *folder) take(want string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ext := path.Ext(want)
	stem := strings.TrimSuffix(want, ext)
	for n, name := 2, want; ; n++ {
		key := strings.ToLower(name) // Windows and macOS do not distinguish case
		if !f.taken[key] {
			f.taken[key] = true
			return name
		}
		name = fmt.Sprintf("%s (%d)%s", stem, n, ext)
	}
}

// save downloads the objects of an image. It returns the digest of the processed file.
func (f *folder) save(ctx context.Context, c *client.Client, jobID string, index int, name string) (journal.Digest, error) {
	var first journal.Digest
	for i, kind := range f.kinds {
		target := name + suffixes[kind]
		digest, err := f.saveObject(ctx, c, jobID, index, kind, target)
		if e, ok := errors.AsType[*client.Error](err); ok && kind == client.Sidecar && e.Status == http.StatusNotFound {
			continue // most images have none
		}
		if err != nil {
			return first, err
		}
		if i == 0 {
			first = digest
		} else if f.journal != nil {
			record := journal.Record{File: journal.File{Path: target}, Outcome: journal.Outcome{Status: journal.Completed, Output: target, Digest: digest}}
			if err := f.journal.Note(record); err != nil {
				return first, &localError{err}
			}
		}
	}
	return first, nil
}

// saveObject downloads one object to a temporary file and renames it.
func (f *folder) saveObject(ctx context.Context, c *client.Client, jobID string, index int, kind client.Kind, name string) (digest journal.Digest, err error) {
	object, err := c.Object(ctx, jobID, index, kind)
	if err != nil {
		return digest, err
	}
	defer object.Close()
	dir, file := path.Split(name)
	if dir != "" {
		if err := f.root.MkdirAll(path.Clean(dir), 0o777); err != nil {
			return digest, &localError{err}
		}
	}
	temporary := path.Join(dir, f.run.Name())
	out, err := f.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return digest, &localError{err}
	}
	sum := sha256.New()
	renamed := false
	defer func() {
		if !renamed {
			err = errors.Join(err, f.root.Remove(temporary))
		}
	}()
	_, err = io.Copy(localWriter{io.MultiWriter(out, sum)}, object)
	if err == nil && f.journal != nil {
		err = local(out.Sync()) // the journal says that it is there, also after a power failure
	}
	if err = errors.Join(err, local(out.Close())); err != nil {
		return digest, err
	}
	digest = digestOf(sum)
	if err := f.replaceable(name, digest); err != nil {
		return digest, &localError{fmt.Errorf("%s: %w", filepath.Join(f.root.Name(), filepath.FromSlash(dir), file), err)}
	}
	if err := f.root.Rename(temporary, name); err != nil {
		return digest, &localError{err}
	}
	renamed = true
	return digest, nil
}

// replaceable returns an error if there is a file at the path that is neither ours nor the same.
func (f *folder) replaceable(name string, digest journal.Digest) error {
	foreign, err := f.foreign(name)
	if err != nil || !foreign {
		return err
	}
	if info, err := f.root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return errors.Join(errForeign, err)
	}
	now, err := f.digest(name)
	if err == nil && now != digest {
		err = errForeign
	}
	return err
}

func local(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

// localWriter marks the errors of writing, so that they differ from those of a download.
type localWriter struct{ io.Writer }

func (w localWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, local(err)
}

// safePath returns the path under which the image is saved in a folder: its custom ID, if that
// is a relative path that every system writes to that place, and otherwise its file name.
// Another client may have chosen both.
func safePath(img *client.JobImage) string {
	if isSafe(img.CustomID) && path.Ext(img.CustomID) != "" {
		return img.CustomID
	}
	name := path.Base(strings.ReplaceAll(img.OriginalFilename, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>:"|?*`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimRight(strings.TrimLeft(name, ". "), ". ")
	if len(name) > 200 {
		ext := path.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		name = strings.ToValidUTF8(name[:200-len(ext)], "") + ext
	}
	if !isSafe(name) {
		return fmt.Sprintf("image-%d", img.Index+1)
	}
	return name
}

// isSafe reports whether the path, with slashes, names the same place below a folder on every
// system.
func isSafe(name string) bool {
	if !fs.ValidPath(name) || name == "." {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.ContainsAny(part, `\<>:"|?*`) || strings.ContainsFunc(part, func(r rune) bool { return !unicode.IsPrint(r) }) ||
			strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".") || strings.HasPrefix(part, " ") || strings.HasSuffix(part, " ") ||
			len(part) > 200 || reserved(part) {
			return false
		}
	}
	return true
}

// reserved reports whether Windows opens a device instead of a file with this name.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if n := strings.TrimPrefix(strings.TrimPrefix(stem, "COM"), "LPT"); n != stem {
		return len([]rune(n)) == 1 && strings.Contains("0123456789¹²³", n)
	}
	return false
}
