// Package disk reads plugin files, and creates the folder for compiled code.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Copy copies a regular file of at most limit bytes. Its errors do not contain the path.
func Copy(to io.Writer, path string, limit int64) error {
	f, err := openFile(path, limit)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer f.Close()
	// The file may be growing.
	n, err := io.Copy(to, io.LimitReader(f, limit+1))
	if err != nil {
		return fmt.Errorf("read: %w", withoutPath(err))
	}
	if n > limit {
		return tooLarge(limit)
	}
	return nil
}

// openFile opens a regular file. It does not open a device, because that may have an effect. A pipe
// may replace the file between the two checks, so the open never waits for the other end of one.
func openFile(path string, limit int64) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = checkFile(info, limit)
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	if info, err = f.Stat(); err == nil {
		err = checkFile(info, limit)
	}
	if err != nil {
		return nil, errors.Join(withoutPath(err), f.Close())
	}
	return f, nil
}

func checkFile(info os.FileInfo, limit int64) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if info.Size() > limit {
		return tooLarge(limit)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("the file is larger than its limit of %d bytes; raise file", limit)
}

func withoutPath(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// MakePrivate creates a folder that only this user can use. It accepts an existing folder only if
// that is private already.
func MakePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return checkPrivate(dir)
}
