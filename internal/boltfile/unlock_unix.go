//go:build unix && !aix && !solaris

package boltfile

import (
	"os"
	"syscall"
)

// unlock ends the lock of bbolt. Closing the file is not enough while it is mapped.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
