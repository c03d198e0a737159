package assignment

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to the file durable, without its times, which would cost a second
// write.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
