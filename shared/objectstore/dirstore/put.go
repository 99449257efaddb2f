package dirstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// nameTries is how often a Put creates the folders of its file again after they were
// removed. Deletes of the same store wait for the Put, so this handles other processes.
const nameTries = 8

// Put stores the content under key.
func (s *Store) Put(ctx context.Context, key string, c objectstore.Content) error {
	if err := errors.Join(check(ctx, key), objectstore.CheckContentType(c.Type)); err != nil {
		return err
	}
	temporary, err := s.writeFile(c.Data, true)
	if err != nil {
		return callFailed("put", key, err)
	}
	if err := ctx.Err(); err != nil {
		_ = s.root.Remove(temporary)
		return fmt.Errorf("put object %q: %w", key, err)
	}
	if err := s.keepContentType(key, c.Type); err != nil {
		_ = s.root.Remove(temporary)
		return callFailed("put", key, err)
	}
	if err := s.install(temporary, path.Join(objects, key)); err != nil {
		return callFailed("put", key, err)
	}
	return nil
}

// PutNew stores the content under key if there is no object.
func (s *Store) PutNew(ctx context.Context, key string, c objectstore.Content) error {
	if err := errors.Join(check(ctx, key), objectstore.CheckContentType(c.Type)); err != nil {
		return err
	}
	name := path.Join(objects, key)
	temporary, err := s.writeFile(c.Data, true)
	if err != nil {
		return callFailed("put", key, err)
	}
	err = s.link(temporary, name)
	_ = s.root.Remove(temporary)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put object %q: %w", key, objectstore.ErrExists)
	}
	if err == nil {
		err = s.keepContentType(key, c.Type)
	}
	if err != nil {
		return callFailed("put", key, err)
	}
	return nil
}

// link durably gives a temporary file its final name too, unless another file has it.
func (s *Store) link(temporary, name string) error {
	var err error
	for range nameTries {
		if err = s.nameFile(s.root.Link, temporary, name); err == nil {
			return s.syncFolders(path.Dir(name))
		}
		if errors.Is(err, fs.ErrExist) {
			if stat, statErr := s.root.Lstat(name); statErr == nil && !stat.IsDir() {
				return err
			}
			if s.removeFolder(name) != nil {
				return errFolder
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// Delete removes the object and the folders that it leaves empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	for _, folder := range []string{objects, types} {
		if err := s.remove(path.Join(folder, key)); err != nil {
			return callFailed("delete", key, err)
		}
	}
	return nil
}

// writeFile writes a file below incoming/ and returns its name. On an error it removes
// the file.
func (s *Store) writeFile(data []byte, durable bool) (string, error) {
	name := path.Join(incoming, rand.Text())
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		// The kernel's own time has steps of milliseconds, and ETags need a new one.
		now := time.Now()
		err = s.root.Chtimes(name, now, now)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = s.root.Remove(name)
		return "", err
	}
	return name, nil
}

// install renames a temporary file durably to its final name, or removes it on an
// error.
func (s *Store) install(temporary, name string) error {
	var err error
	for range nameTries {
		if err = s.nameFile(s.root.Rename, temporary, name); err == nil {
			return s.syncFolders(path.Dir(name))
		}
		if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EEXIST) {
			// A folder has this name. Remove it if a crash left it empty.
			if s.removeFolder(name) != nil {
				err = errFolder
				break
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	_ = s.root.Remove(temporary)
	return err
}

// nameFile calls do, which gives the temporary file its final name, when its folder exists.
func (s *Store) nameFile(do func(from, to string) error, temporary, name string) error {
	s.names.RLock()
	defer s.names.RUnlock()
	if err := s.root.MkdirAll(path.Dir(name), 0o750); errors.Is(err, syscall.EEXIST) {
		return errFolder
	} else if err != nil {
		return err
	}
	return do(temporary, name)
}

// removeFolder removes the name if it is an empty folder.
func (s *Store) removeFolder(name string) error {
	s.names.Lock()
	defer s.names.Unlock()
	stat, err := s.root.Lstat(name)
	if err != nil || !stat.IsDir() {
		return nil // already removed or replaced
	}
	return s.root.Remove(name)
}

// remove durably removes a file, if it exists, and the folders that it leaves empty. It
// does not remove a folder of that name.
func (s *Store) remove(name string) error {
	left, err := s.unlink(name)
	if err != nil || left == "" {
		return err
	}
	return s.syncFolders(left)
}

// unlink removes a file and returns the nearest remaining folder, or "" if it removed
// no file.
func (s *Store) unlink(name string) (string, error) {
	s.names.Lock()
	defer s.names.Unlock()
	stat, err := s.root.Lstat(name)
	if isAbsent(err) || err == nil && stat.IsDir() {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := s.root.Remove(name); err != nil && !isAbsent(err) {
		return "", err
	}
	folder := path.Dir(name)
	for path.Dir(folder) != "." && s.root.Remove(folder) == nil {
		folder = path.Dir(folder)
	}
	return folder, nil
}

// syncFolders makes the entries of a folder durable, and those of its parents up to the
// top, because another Put may have created a folder and not synced it yet. A missing
// folder was removed after a Delete and needs no sync.
func (s *Store) syncFolders(folder string) error {
	for ; folder != "."; folder = path.Dir(folder) {
		if err := s.syncFolder(folder); err != nil && !isAbsent(err) {
			return err
		}
	}
	return nil
}

func (s *Store) syncFolder(folder string) error {
	f, err := s.root.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return syncDirectory(f)
}

// syncDirectory ignores the error of file systems that cannot sync a folder.
func syncDirectory(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
