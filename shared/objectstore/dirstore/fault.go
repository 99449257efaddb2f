package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// callError is one of the contract's errors with the text of what happened.
type callError struct {
	kind error
	text string
}

func (e *callError) Error() string { return e.kind.Error() + ": " + e.text }

func (e *callError) Unwrap() error { return e.kind }

// errFolder is a fault of the arguments.
var errFolder = errors.New("the key is a folder of other keys, or one of its folders is an object")

// callFailed gives an error of the file system its place in the contract. What
// is not known to be the caller's fault (no space left, too many files, a broken
// disk) is the store's.
func callFailed(op, key string, err error) error {
	switch {
	case op == "put" && (errors.Is(err, errFolder) || errors.Is(err, syscall.ENOTDIR)):
		err = errFolder
	case errors.Is(err, syscall.ENAMETOOLONG): // a file system with less room than the contract
	case isAbsent(err) && op != "put": // a Put misses no object, but a folder of the store
		err = &callError{objectstore.ErrNotExist, "there is no such file"}
	default:
		err = &callError{objectstore.ErrUnavailable, err.Error()}
	}
	return fmt.Errorf("%s object %q: %w", op, key, err)
}

// isAbsent tells that there is no such file, also because one of its folders is
// none.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
