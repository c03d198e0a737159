//go:build linux || darwin || freebsd

package memory

import "syscall"

func reserve(n int64) ([]byte, error) {
	space, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err == nil {
		keepSmallPages(space)
	}
	return space, err
}

func commit(space []byte, from, to int64) error {
	if from == to {
		return nil
	}
	return syscall.Mprotect(space[from:to], syscall.PROT_READ|syscall.PROT_WRITE)
}

// release panics on an error, which only a wrong argument can cause: continuing could use memory
// twice.
func release(space []byte) {
	if err := syscall.Munmap(space); err != nil {
		panic("memory: munmap: " + err.Error())
	}
}
