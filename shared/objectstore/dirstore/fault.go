package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// callError is an error of the contract with a description.
type callError struct {
	kind error
	text string
}

func (e *callError) Error() string { return e.kind.Error() + ": " + e.text }

func (e *callError) Unwrap() error { return e.kind }

// errFolder is an argument error.
var errFolder = errors.New("key is a folder of other keys, or one of its folders is an object")

// callFailed maps an error of the file system to the contract. An error that is not
// clearly the caller's (no space left, too many files, a broken disk) is
// ErrUnavailable.
func callFailed(op, key string, err error) error {
	switch {
	case op == "put" && (errors.Is(err, errFolder) || errors.Is(err, syscall.ENOTDIR)):
		err = errFolder
	case errors.Is(err, syscall.ENAMETOOLONG): // the file system allows less than the contract
	case isAbsent(err) && op != "put": // for a Put, a folder of the store is missing
		err = &callError{objectstore.ErrNotExist, "no such file"}
	default:
		err = &callError{objectstore.ErrUnavailable, err.Error()}
	}
	return fmt.Errorf("%s object %q: %w", op, key, err)
}

// isAbsent reports whether the file does not exist, including a missing parent folder.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
