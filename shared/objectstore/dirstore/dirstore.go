// Package dirstore keeps objects in a folder of the local file system: each one
// a plain file, with the key as its path below objects/, to be looked at with
// any tool.
//
// It promises objectstore's contract, also over a power cut. A Put writes a
// temporary file below incoming/, syncs it, renames it into place, and syncs the
// folders that lead there. A Delete takes folders away that it left empty. No
// key leads out of the folder, also not over a symbolic link.
//
// The content type is the one that the extension of the key stands for (.jpg,
// .jpeg, .png, .json, .txt, else application/octet-stream). Only a type that the
// extension does not tell is kept, in a small file below types/. It is written
// before the object, so for a moment, or for good after a crash in that moment,
// the object before may be seen with the type of the one after. Whoever puts a
// key always with the same type never sees this.
//
// One process owns the folder. Once it has made sure of that, Tidy removes the
// temporary files that a process before left behind. The file system must tell
// apart names by their bytes, so the usual ones of macOS and Windows keep no two
// keys that differ only in case. A full or broken disk is ErrUnavailable. A key
// that is a folder of another one is refused.
package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// The folders of a store.
const (
	objects  = "objects"
	types    = "types"
	incoming = "incoming"
)

// Store is one folder.
type Store struct {
	dir  string
	root *os.Root

	// names is held for reading while a file gets its name, and for writing while
	// names are taken away: else a Delete could remove the folder that a Put is
	// just about to use.
	names sync.RWMutex
}

var _ objectstore.Store = (*Store)(nil)

// Open opens the store in folder dir, and creates it when it is absent.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open object folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create object folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open object folder: %w", err)
	}
	s := &Store{dir: dir, root: root}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare object folder %s: %w", dir, err), root.Close())
	}
	return s, nil
}

// Tidy removes the temporary files that a killed process left behind. It is for
// the owner of the folder, before its first Put: a file that is being written is
// as temporary as they are.
func (s *Store) Tidy() error {
	if err := s.root.RemoveAll(incoming); err != nil {
		return fmt.Errorf("tidy object folder %s: %w", s.dir, err)
	}
	if err := s.root.Mkdir(incoming, 0o750); err != nil {
		return fmt.Errorf("tidy object folder %s: %w", s.dir, err)
	}
	return nil
}

func (s *Store) prepare() error {
	for _, folder := range []string{objects, types, incoming} {
		if err := s.root.MkdirAll(folder, 0o750); err != nil {
			return err
		}
	}
	if err := s.syncFolder("."); err != nil {
		return err
	}
	// The folder's own name is in the folder above it, which may be closed to us.
	if above, err := os.Open(filepath.Dir(s.dir)); err == nil {
		defer above.Close()
		return syncDirectory(above)
	}
	return nil
}

// Close ends the use of the folder. Bodies that are open can be read on.
func (s *Store) Close() error { return s.root.Close() }

// Get opens the object.
func (s *Store) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(path.Join(objects, key))
	if err != nil {
		return nil, callFailed("get", key, err)
	}
	stat, err := f.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, callFailed("get", key, err)
	}
	info, err := s.info(key, stat)
	if err != nil {
		_ = f.Close()
		return nil, callFailed("get", key, err)
	}
	return &objectstore.Object{Info: info, Body: &body{ended: ctx.Err, f: f, key: key, left: info.Size}}, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if err := check(ctx, key); err != nil {
		return objectstore.Info{}, err
	}
	stat, err := s.root.Stat(path.Join(objects, key))
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return objectstore.Info{}, callFailed("stat", key, err)
	}
	info, err := s.info(key, stat)
	if err != nil {
		return objectstore.Info{}, callFailed("stat", key, err)
	}
	return info, nil
}

// Ready is nil when a file can be written.
func (s *Store) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("look at object folder %s: %w", s.dir, err)
	}
	_, err := s.root.Stat(objects)
	if err == nil {
		var probe string
		if probe, err = s.writeFile([]byte{0}, false); err == nil {
			err = s.root.Remove(probe)
		}
	}
	if err != nil {
		return &callError{objectstore.ErrUnavailable, fmt.Sprintf("the object folder %s cannot be written: %v", s.dir, err)}
	}
	return nil
}

func (s *Store) info(key string, stat fs.FileInfo) (objectstore.Info, error) {
	contentType, err := s.contentType(key)
	return objectstore.Info{Key: key, Size: stat.Size(), ContentType: contentType, Modified: stat.ModTime().UTC()}, err
}

// body reads an object. The file stays the one that was opened, whatever gets
// its name later.
type body struct {
	ended func() error
	f     *os.File
	key   string
	left  int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ended(); err != nil {
		return 0, fmt.Errorf("read object %q: %w", b.key, err)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left] // what somebody appends to the file is no part of the object
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.f.Read(p)
	b.left -= int64(n)
	if err != nil {
		text := fmt.Sprintf("read object %q: %d bytes are missing: %v", b.key, b.left, err)
		return n, &callError{objectstore.ErrUnavailable, text}
	}
	return n, nil
}

func (b *body) Close() error { return b.f.Close() }

func check(ctx context.Context, key string) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("object %q: %w", key, err)
	}
	return nil
}
