package assignment

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// rewriteBatch is how many records are written in one transaction.
const rewriteBatch = 20_000

// Damaged returns how many records Load has left out, and the copy of the file that still has them.
func (f *File) Damaged() (records int, kept string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.damaged, f.kept
}

// rewrite replaces the file by another with the records that are whole, in the format of today. A damaged key can be out of
// order, and then bbolt does not find its neighbours, so that nothing more is written to such a file; a copy of it is kept.
// At an error the file stays as it was. The caller holds mu.
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

// copyTo writes the records that are whole to another file.
func (f *File) copyTo(old *bbolt.Tx, to *boltfile.File) error {
	var records []Record
	write := func() error {
		err := update(to, func(bucket *bbolt.Bucket) (int, error) { return put(bucket, records) })
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
