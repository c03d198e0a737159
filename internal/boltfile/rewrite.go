package boltfile

import (
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Rewrite replaces the file by another, which fill writes from the old one. With keep, the old file stays under the name
// that a damaged one gets, which is returned. Nothing else may use f meanwhile.
//
// It returns the new file once that has the place of the old one, which is closed then, and otherwise nil: the old file is as
// it was, and open. With the new file it can return an error too: a crash could still undo the replacement. It returns
// [ErrDamaged] when the file is to be kept and an earlier one is still there.
func (f *File) Rewrite(l Layout, keep bool, fill func(old *bbolt.Tx, to *File) error) (to *File, kept string, err error) {
	if keep {
		kept = f.path + DamagedExt
		if exists(kept) {
			return nil, "", refuse(f.path, ErrDamaged)
		}
		err = f.View(func(tx *bbolt.Tx) error { return tx.CopyFile(kept, 0o600) })
	}
	if err == nil {
		to, err = f.replace(l, fill)
	}
	if to == nil && keep {
		_ = os.Remove(kept) // it would be in the way of another try
		kept = ""
	}
	return to, kept, err
}

// replace makes the new file, and gives it the name of the old one.
func (f *File) replace(l Layout, fill func(old *bbolt.Tx, to *File) error) (*File, error) {
	name := f.path + newExt
	if err := os.RemoveAll(name); err != nil { // of a process that was killed
		return nil, err
	}
	to, err := openFile(name, l)
	if err != nil {
		return nil, err
	}
	if err = f.View(func(tx *bbolt.Tx) error { return fill(tx, to) }); err == nil {
		err = os.Rename(name, f.path)
	}
	if err != nil {
		_ = to.Close() // the first error says more
		_ = os.Remove(name)
		return nil, err
	}
	to.path = f.path
	// Both are locked until here: another process never has either.
	_ = f.Close()
	return to, syncFolder(filepath.Dir(f.path))
}
