package dirstore

import (
	"cmp"
	"io"
	"path"
	"strings"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

var byExtension = map[string]string{
	".jpg":  "image/jpeg",
	".jpeg": "image/jpeg",
	".png":  "image/png",
	".json": "application/json",
	".txt":  "text/plain",
}

// impliedType returns the content type of a key without a stored type. It uses our own
// table, because the system's table differs between machines.
func impliedType(key string) string {
	return cmp.Or(byExtension[strings.ToLower(path.Ext(key))], objectstore.DefaultContentType)
}

// keepContentType stores a content type that differs from the implied type, and
// otherwise removes a stored type of an earlier object.
func (s *Store) keepContentType(key, contentType string) error {
	contentType = cmp.Or(contentType, objectstore.DefaultContentType)
	name := path.Join(types, key)
	if contentType == impliedType(key) {
		if _, err := s.root.Lstat(name); isAbsent(err) {
			return nil // the usual case needs no lock
		}
		return s.remove(name)
	}
	temporary, err := s.writeFile([]byte(contentType), true)
	if err != nil {
		return err
	}
	return s.install(temporary, name)
}

func (s *Store) contentType(key string) (string, error) {
	f, err := s.root.Open(path.Join(types, key))
	if isAbsent(err) {
		return impliedType(key), nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if stat, err := f.Stat(); err != nil || stat.IsDir() { // a folder with the types of other keys
		return impliedType(key), err
	}
	kept, err := io.ReadAll(io.LimitReader(f, objectstore.MaxContentTypeBytes+1))
	if err != nil {
		return "", err
	}
	if len(kept) == 0 || objectstore.CheckContentType(string(kept)) != nil {
		return impliedType(key), nil
	}
	return string(kept), nil
}
