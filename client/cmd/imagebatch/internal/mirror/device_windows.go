package mirror

import (
	"errors"
	"syscall"
)

func isOtherFileSystem(err error) bool {
	const notSameDevice = syscall.Errno(17) // ERROR_NOT_SAME_DEVICE
	return errors.Is(err, notSameDevice)
}
