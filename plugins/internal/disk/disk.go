// Package disk reads the files of plugins, and makes the folder for compiled code.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Copy copies a regular file whose length is at most the parameter most, in bytes. Its errors leave out the path.
func Copy(to io.Writer, path string, most int64) error {
	f, err := openFile(path, most)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer f.Close()
	// The file may grow meanwhile.
	n, err := io.Copy(to, io.LimitReader(f, most+1))
	if err != nil {
		return fmt.Errorf("read: %w", withoutPath(err))
	}
	if n > most {
		return tooLarge(most)
	}
	return nil
}

// openFile opens a regular file. Opening a device may do something, so that is not tried; and a pipe may take the place
// of a file between two looks, so nothing waits for its other end.
func openFile(path string, most int64) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = checkFile(info, most)
	}
	if err != nil {
		return nil, withoutPath(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	if info, err = f.Stat(); err == nil {
		err = checkFile(info, most)
	}
	if err != nil {
		return nil, errors.Join(withoutPath(err), f.Close())
	}
	return f, nil
}

func checkFile(info os.FileInfo, most int64) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if info.Size() > most {
		return tooLarge(most)
	}
	return nil
}

func tooLarge(most int64) error {
	return fmt.Errorf("the file is larger than its limit of %d bytes; raise file", most)
}

func withoutPath(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// MakePrivate makes a folder that only this user can use. One that is there must be so already.
func MakePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return checkPrivate(dir)
}
