package memory

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealed returns a file in memory whose contents and size cannot change any more. Without the
// seals, a write would show in all instances, and a shorter file would end the process with SIGBUS.
func sealed(size int64, parts iter.Seq2[int64, []byte]) (*os.File, error) {
	const name, flags = "rollcall-image", unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: memfd_create: %w", ErrNoImage, err)
	}
	file := os.NewFile(uintptr(fd), name)
	if err := fill(file, size, parts); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: seal it: %w", ErrNoImage, err), file.Close())
	}
	return file, nil
}

func fill(file *os.File, size int64, parts iter.Seq2[int64, []byte]) error {
	if err := file.Truncate(size); err != nil {
		return err
	}
	for offset, contents := range parts {
		if _, err := file.WriteAt(contents, offset); err != nil {
			return err
		}
	}
	return nil
}

// mapTo puts a private copy of the image at the start of space. A page is copied when it is first
// written to.
func (i *Image) mapTo(space []byte) error {
	at := unsafe.Pointer(unsafe.SliceData(space[:i.size]))
	_, err := unix.MmapPtr(int(i.file.Fd()), 0, at, uintptr(i.size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_FIXED)
	return err
}
