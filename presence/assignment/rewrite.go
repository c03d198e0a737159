package assignment

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// rewriteBatch is the maximum number of records that are written again, or deleted, in one
// transaction.
const rewriteBatch = 20_000

// Damaged returns the number of records that Load has left out, and the copy of the file that has
// them.
func (f *File) Damaged() (records int, kept string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.damaged, f.kept
}

// rewrite replaces the file by one with its undamaged records, in the present format. A damaged
// file must not be written to: bbolt does not find the neighbors of a damaged key, which can be out
// of order. A copy of it is kept. If rewrite fails, the file is unchanged. The caller holds mu.
func (f *File) rewrite(damaged int) error {
	db, kept, err := f.db.Rewrite(boltfile.Layout{Root: recordsBucket, Init: initFile}, damaged > 0, f.copyTo)
	if db != nil {
		f.db, f.version, f.damaged, f.kept = db, entryVersion, damaged, kept
	}
	if err != nil {
		return fmt.Errorf("writing %s again, for %d damaged records or an older format: %w", f.path, damaged, err)
	}
	return nil
}

// copyTo writes the undamaged records to another file.
func (f *File) copyTo(old *bbolt.Tx, to *boltfile.File) error {
	var records []Record
	state := old.Bucket(metaBucket).Get(journalKey)
	write := func() error {
		err := update(to, func(bucket *bbolt.Bucket) (int, error) {
			if state != nil {
				if err := bucket.Tx().Bucket(metaBucket).Put(journalKey, state); err != nil {
					return 0, err
				}
			}
			return put(bucket, records)
		})
		records = records[:0]
		return err
	}
	err := old.Bucket(recordsBucket).ForEach(func(key, value []byte) error {
		if r, err := decode(key, value, f.version); err == nil {
			records = append(records, r)
		}
		if len(records) < rewriteBatch {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	return write()
}
