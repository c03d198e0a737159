package boltfile

import (
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Rewrite replaces the file by a new one, which fill writes from the old one. If keep is set, the
// old file is kept, renamed like a damaged file; kept is its new name. f must not be used
// meanwhile.
//
// It returns the new file once it has replaced the old one, which is then closed. Otherwise it
// returns nil, and the old file is unchanged and open. An error with a new file means that a
// crash could still undo the replacement. It returns [ErrDamaged] if the file is to be kept and an
// earlier one is still there.
func (f *File) Rewrite(l Layout, keep bool, fill func(old *bbolt.Tx, to *File) error) (to *File, kept string, err error) {
	if keep {
		kept = f.path + DamagedExt
		if exists(kept) {
			return nil, "", refuse(f.path, ErrDamaged)
		}
		err = f.copyTo(kept)
	}
	if err == nil {
		to, err = f.replace(l, fill)
	}
	if to == nil && keep {
		_ = os.Remove(kept) // it would block the next attempt
		kept = ""
	}
	return to, kept, err
}

// copyTo copies the file. The copy gets its name when it is whole: an incomplete one, left by a
// process that was killed, would block every later attempt.
func (f *File) copyTo(path string) error {
	name := path + newExt
	err := f.View(func(tx *bbolt.Tx) error { return tx.CopyFile(name, 0o600) })
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}

// replace creates the new file and gives it the name of the old one.
func (f *File) replace(l Layout, fill func(old *bbolt.Tx, to *File) error) (*File, error) {
	name := f.path + newExt
	if err := os.RemoveAll(name); err != nil { // left by a process that was killed
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
	// Both files are locked until now, so another process never gets either.
	_ = f.Close()
	return to, SyncFolder(filepath.Dir(f.path))
}
