package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// pageNames is the maximum number of names of one folder in memory. A larger folder is
// read again for each page, so that a million names need little memory.
const pageNames = 4096

// List yields the objects whose keys start with prefix.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		err := objectstore.CheckPrefix(prefix)
		if err == nil {
			w := walk{s: s, ended: ctx.Err, prefix: prefix, yield: yield}
			err = w.folder(prefix[:strings.LastIndexByte(prefix, '/')+1])
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(objectstore.Info{}, fmt.Errorf("list objects below %q: %w", prefix, err))
		}
	}
}

// errEnough ends a walk whose consumer has stopped.
var errEnough = errors.New("consumer has stopped")

type walk struct {
	s      *Store
	ended  func() error
	prefix string
	yield  func(objectstore.Info, error) bool
}

// folder yields the objects below a folder, whose key is empty or ends in a slash.
func (w *walk) folder(key string) error {
	for after := ""; ; {
		names, err := w.page(key, after)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := w.entry(key + name); err != nil {
				return err
			}
		}
		if len(names) < pageNames {
			return nil
		}
		after = names[len(names)-1]
	}
}

func (w *walk) entry(key string) error {
	if err := w.ended(); err != nil {
		return err
	}
	if strings.HasSuffix(key, "/") {
		return w.folder(key)
	}
	stat, err := w.s.root.Lstat(path.Join(objects, key))
	if isAbsent(err) || err == nil && !stat.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return &callError{objectstore.ErrUnavailable, err.Error()}
	}
	info := objectstore.Info{Key: key, Size: stat.Size(), Modified: stat.ModTime().UTC()}
	if !w.yield(info, nil) {
		return errEnough
	}
	return nil
}

// page returns the next names of a folder after the name after, in the order of their
// keys. A folder is sorted by its name with the slash, because its keys start with
// that.
func (w *walk) page(folder, after string) ([]string, error) {
	f, err := w.s.root.Open(path.Join(objects, folder))
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, &callError{objectstore.ErrUnavailable, err.Error()}
	}
	defer f.Close()
	names := make([]string, 0, 64)
	for {
		if err := w.ended(); err != nil {
			return nil, err
		}
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if name := w.name(folder, e); name > after {
				names = append(names, name)
			}
		}
		if len(names) > 2*pageNames {
			names = first(names)
		}
		switch {
		case errors.Is(err, io.EOF), isAbsent(err):
			return first(names), nil
		case err != nil:
			return nil, &callError{objectstore.ErrUnavailable, err.Error()}
		}
	}
}

// name returns the part that an entry of a folder adds to the key, or "" for an entry
// outside the prefix.
func (w *walk) name(folder string, e fs.DirEntry) string {
	key := folder + e.Name()
	switch {
	case objectstore.CheckKey(key) != nil:
		return ""
	case e.IsDir() && (strings.HasPrefix(key+"/", w.prefix) || strings.HasPrefix(w.prefix, key+"/")):
		return e.Name() + "/"
	case e.Type().IsRegular() && strings.HasPrefix(key, w.prefix):
		return e.Name()
	default:
		return ""
	}
}

func first(names []string) []string {
	slices.Sort(names)
	return names[:min(len(names), pageNames)]
}
