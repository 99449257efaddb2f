package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// copyCheckout makes dir a copy of the files of the git work tree root: those that git knows and those that are new, as
// they are now, and not what git ignores. A file that is the same already is left alone, and others are deleted. Links
// stay links: what they lead to is in the copy too.
func copyCheckout(ctx context.Context, root, dir string) error {
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", root, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		switch err := copyFile(root, to, name); {
		case errors.Is(err, fs.ErrNotExist): // deleted and not committed
		case err != nil:
			return fmt.Errorf("copy %s: %w", name, err)
		default:
			wanted[name] = true
		}
	}
	return fs.WalkDir(to.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || wanted[name] {
			return err
		}
		return to.Remove(name)
	})
}

func copyFile(root string, to *os.Root, name string) error {
	from := filepath.Join(root, name)
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if there, err := to.Lstat(name); err == nil && there.Mode().Type() != info.Mode().Type() {
		if err := to.Remove(name); err != nil {
			return err
		}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return copyLink(from, to, name)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if there, err := to.ReadFile(name); err != nil || !bytes.Equal(there, data) {
		if err := to.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return err
		}
		if err := to.WriteFile(name, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return to.Chmod(name, info.Mode().Perm())
}

func copyLink(from string, to *os.Root, name string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	there, err := to.Readlink(name)
	switch {
	case err == nil && there == target:
		return nil
	case err == nil:
		if err := to.Remove(name); err != nil {
			return err
		}
	}
	if err := to.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	return to.Symlink(target, name)
}
