package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Hash returns the SHA-256 of the file in hexadecimal. It refuses the paths that [Engine.Load] does: a file above the
// limit, or whatever is not a file, is not read.
func (s Spec) Hash() (string, error) {
	limits, err := s.Limits.withDefaults()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	if err := copyFile(hash, s.Path, limits.File); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// copyFile copies a regular file whose length is at most the parameter most, in bytes. Its errors leave out the path.
func copyFile(to io.Writer, path string, most int64) error {
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
