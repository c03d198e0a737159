package assignment

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// The names of files beside that of assignments: one that is being written, and one with damaged records.
const (
	newExt     = ".new"
	damagedExt = ".damaged"
)

// rewriteBatch is how many records are written in one transaction.
const rewriteBatch = 20_000

// Damaged returns how many records Load has left out, and the copy of the file that still has them.
func (f *File) Damaged() (records int, kept string) {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.damaged, f.path + damagedExt
}

// rewrite replaces the file by another with the records that are whole, in the format of today. A damaged key can be out of
// order, and then bbolt does not find its neighbours, so that nothing more is written to such a file; a copy of it is kept.
// At an error the file stays as it was. The caller holds writing.
func (f *File) rewrite(damaged int) error {
	if damaged > 0 {
		if err := f.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(f.path+damagedExt, 0o600) }); err != nil {
			return fmt.Errorf("keeping a copy of %s, which has %d damaged records: %w", f.path, damaged, err)
		}
	}
	db, err := f.writeNew(f.path + newExt)
	if err != nil {
		_ = os.Remove(f.path + newExt)
		return fmt.Errorf("writing %s again, for %d damaged records or an older format: %w", f.path, damaged, err)
	}
	// Both are locked until here: another process never has either.
	_ = f.db.Close()
	f.db, f.version, f.damaged = db, entryVersion, damaged
	return nil
}

// writeNew makes the new file, and gives it the name of the old one.
func (f *File) writeNew(path string) (db *bbolt.DB, err error) {
	if err := os.RemoveAll(path); err != nil { // of a process that was killed
		return nil, err
	}
	if db, err = bbolt.Open(path, 0o600, nil); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = db.Close() // the first error says more
		}
	}()
	if err := makeBuckets(db); err != nil {
		return nil, err
	}
	var records []Record
	write := func() error {
		err := update(db, func(bucket *bbolt.Bucket) (int, error) { return put(bucket, records) })
		records = records[:0]
		return err
	}
	err = f.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(recordsBucket).ForEach(func(key, value []byte) error {
			if r, err := decode(key, value, f.version); err == nil {
				records = append(records, r)
			}
			if len(records) < rewriteBatch {
				return nil
			}
			return write()
		})
	})
	if err == nil {
		err = write()
	}
	if err == nil {
		err = os.Rename(path, f.path)
	}
	if err != nil {
		return nil, err
	}
	return db, syncFolder(filepath.Dir(f.path))
}
