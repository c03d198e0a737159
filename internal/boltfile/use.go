package boltfile

import (
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// View reads the file. Data that read gets from it must not be used after read returns.
//
// It returns [ErrDamaged].
func (f *File) View(read func(tx *bbolt.Tx) error) error {
	return f.guard(func() error { return f.db.View(read) })
}

// Complete finds out whether the file was truncated since it was opened.
//
// It returns [ErrDamaged].
func (f *File) Complete() error { return f.View(f.complete) }

// Update changes the file. It returns when the change is on disk. Changes that arrive during a
// write share one transaction: after an error, none of them was made. A change must not call the
// file, and may run on another goroutine.
//
// It returns [ErrDamaged].
func (f *File) Update(change func(tx *bbolt.Tx) error) error {
	return f.writing.Write(f.commit, change)
}

func (f *File) commit(changes []func(tx *bbolt.Tx) error) error {
	return f.guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			for _, change := range changes {
				if err := change(tx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// guard turns a panic of bbolt, or a fault in the file's memory, into ErrDamaged. The database is
// not used afterwards, because its state in memory may be inconsistent.
func (f *File) guard(use func() error) (err error) {
	if broken := f.broken.Load(); broken != nil {
		return *broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			damage := fmt.Errorf("%w: %v", ErrDamaged, v)
			f.broken.Store(&damage)
			err = damage
		}
	}()
	return use()
}

// Close waits for the batch that is being written, and closes the file, so that other processes can
// open it. Closing again is not an error.
func (f *File) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.broken.Load() != nil {
		f.abandon()
		return nil
	}
	return f.guard(f.db.Close)
}

// abandon closes the file without bbolt, whose own Close could wait forever for a lock that it
// holds. The file stays mapped.
func (f *File) abandon() {
	unlock(f.file)
	_ = f.file.Close() // everything written is synced
}
