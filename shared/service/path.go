package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckFolder returns an error if dir is not a folder and cannot become one, because a
// parent is not a folder.
func CheckFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		return CheckFolder(filepath.Dir(dir))
	}
	return err
}

// CheckFile returns an error if path is not a file and cannot become one, because it is a
// folder or a parent is not a folder.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case errors.Is(err, fs.ErrNotExist):
		return CheckFolder(filepath.Dir(path))
	}
	return err
}
