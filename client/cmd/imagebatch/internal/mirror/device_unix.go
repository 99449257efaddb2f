//go:build !windows

package mirror

import (
	"errors"
	"syscall"
)

func isOtherFileSystem(err error) bool { return errors.Is(err, syscall.EXDEV) }
