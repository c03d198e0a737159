package process

import (
	"fmt"
	"syscall"
)

// manyFiles is enough for the connections of one process in tests.
const manyFiles = 16_000

// RaiseFiles raises the limit of open files. Child processes inherit it.
func RaiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur, limit.Max = max(limit.Cur, manyFiles), max(limit.Max, manyFiles)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files to %d: %w", manyFiles, err)
	}
	return nil
}
