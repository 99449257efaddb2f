// Package dirstore stores objects in a folder of the local file system. Each object is
// a plain file with its key as the path below objects/, so any tool can read it.
//
// It keeps the contract of objectstore, also across a power failure. A Put writes a
// temporary file below incoming/, syncs it, renames it to its final name, and syncs its
// parent folders. A Delete removes folders that it left empty. No key leads out of the
// folder, not even through a symbolic link.
//
// The content type follows from the extension of the key (.jpg, .jpeg, .png, .json,
// .txt, otherwise application/octet-stream). A different type is stored in a small file
// below types/, which is written before the object. So for a moment, or permanently
// after a crash in that moment, the old object may have the type of the new one. This
// cannot happen if a key always has the same type.
//
// The ETag of an object is made of its size and the time of the Put in nanoseconds, so
// the file system must store times as precisely, as ext4, XFS and APFS do.
//
// One process owns the folder. Once it has made sure of that, Tidy removes the
// temporary files of an earlier process. The file system must distinguish names by
// their bytes: the default file systems of macOS and Windows cannot store two keys that
// differ only in case. For a full or broken disk, the error is ErrUnavailable. A key
// that is a folder of another key is rejected.
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

// Store stores objects in one folder.
type Store struct {
	dir  string
	root *os.Root

	// names is held for reading while a file is renamed to its final name, and for
	// writing while names are removed. Otherwise a Delete could remove the folder that
	// a Put is about to use.
	names sync.RWMutex
}

var _ objectstore.Store = (*Store)(nil)

// Open opens the store in folder dir, and creates the folder if it does not exist.
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

// Tidy removes the temporary files of a killed process. Only the owner of the folder
// may call it, before its first Put: Tidy would also remove files that are being
// written.
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
	// The parent folder has the folder's own name, but may be inaccessible.
	if parent, err := os.Open(filepath.Dir(s.dir)); err == nil {
		defer parent.Close()
		return syncDirectory(parent)
	}
	return nil
}

// Close closes the folder. Open bodies remain readable.
func (s *Store) Close() error { return s.root.Close() }

// Get opens the object.
func (s *Store) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	f, info, err := s.open(key)
	if err != nil {
		return nil, callFailed("get", key, err)
	}
	return &objectstore.Object{Info: info, Body: &body{ended: ctx.Err, f: f, key: key, left: info.Size}}, nil
}

// GetPart opens a part of the object.
func (s *Store) GetPart(ctx context.Context, key, etag string, offset, length int64) (*objectstore.Object, error) {
	if err := errors.Join(check(ctx, key), objectstore.CheckPart(etag, offset, length)); err != nil {
		return nil, err
	}
	f, info, err := s.open(key)
	if err != nil {
		return nil, callFailed("get", key, err)
	}
	switch {
	case info.ETag != etag:
		err = &callError{objectstore.ErrChanged, "it was put again"}
	case offset+length > info.Size:
		err = fmt.Errorf("object %q has %d bytes, so no part of %d bytes from %d", key, info.Size, length, offset)
	default:
		if _, err = f.Seek(offset, io.SeekStart); err != nil {
			err = callFailed("get", key, err)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	info.Size = length
	return &objectstore.Object{Info: info, Body: &body{ended: ctx.Err, f: f, key: key, left: length}}, nil
}

// open opens the file of an object.
func (s *Store) open(key string) (*os.File, objectstore.Info, error) {
	f, err := s.root.Open(path.Join(objects, key))
	if err != nil {
		return nil, objectstore.Info{}, err
	}
	stat, err := f.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	var info objectstore.Info
	if err == nil {
		info, err = s.info(key, stat)
	}
	if err != nil {
		_ = f.Close()
		return nil, objectstore.Info{}, err
	}
	return f, info, nil
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

// Ready returns nil if a file can be written.
func (s *Store) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("check object folder %s: %w", s.dir, err)
	}
	_, err := s.root.Stat(objects)
	if err == nil {
		var probe string
		if probe, err = s.writeFile([]byte{0}, false); err == nil {
			err = s.root.Remove(probe)
		}
	}
	if err != nil {
		return &callError{objectstore.ErrUnavailable, fmt.Sprintf("object folder %s cannot be written: %v", s.dir, err)}
	}
	return nil
}

func (s *Store) info(key string, stat fs.FileInfo) (objectstore.Info, error) {
	contentType, err := s.contentType(key)
	return objectstore.Info{
		Key: key, Size: stat.Size(), ContentType: contentType, Modified: stat.ModTime().UTC(),
		ETag: fmt.Sprintf("%x-%x", stat.ModTime().UnixNano(), stat.Size()),
	}, err
}

// body reads an object. It reads the file that was opened, even if the key is replaced
// later.
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
		p = p[:b.left] // bytes appended to the file later do not belong to the object
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
