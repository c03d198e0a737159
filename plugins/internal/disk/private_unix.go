//go:build unix

package disk

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkPrivate refuses a folder that another user owns, can read or can write: native code is
// loaded from it. It refuses a link too, because its owner could redirect it later.
func checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder: remove it", dir)
	case !ok || int64(stat.Uid) != int64(os.Geteuid()):
		return fmt.Errorf("%s belongs to another user: remove it: %w", dir, fs.ErrPermission)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (%v): make it private with chmod 700: %w", dir, info.Mode().Perm(), fs.ErrPermission)
	}
	return nil
}
