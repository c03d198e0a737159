package assignment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/presence"
)

// File is a [Store] in a bbolt file, with a journal beside it while it is open. A change is written
// whole or not at all, even if the process or the machine crashes meanwhile. Its methods are safe
// for concurrent use. No other process can open the file meanwhile.
type File struct {
	path    string
	renamed string // new name of a damaged file that was replaced; "" if there was none

	mu      sync.RWMutex   // locked for writing to replace db, for reading to use it
	db      *boltfile.File // guarded by mu
	version byte           // version of the entries; guarded by mu
	damaged int            // number of records that Load has left out; guarded by mu
	kept    string         // copy of the file with these records; "" if there is none; guarded by mu

	// writing guards the fields below. It is locked after mu, and held while the journal is
	// written.
	writing boltfile.Batches[Record]
	journal *journal   // nil before the first change
	direct  error      // why changes go to the database; nil if they go to the journal
	folding chan error // gets the result of writing a full generation to the database; nil if none is
}

// Buckets and keys of the file.
var (
	recordsBucket = []byte("assignments")
	metaBucket    = []byte("rollcall")
	formatKey     = []byte("format")
	countKey      = []byte("records") // number of records, 8 bytes, big-endian
	// journalKey has the ID of the journal, and its last generation that is in the database (8
	// bytes each), and the CRC-32C of the key and both (4 bytes), big-endian.
	journalKey = []byte("journal")
	format     = []byte("2") // format of new files: the version of their entries
	oldFormat  = []byte("1")
	// kindFormat is the format of a file with records of several kinds, which would look damaged to
	// a Rollcall that knows assignments only.
	kindFormat = []byte("3")
)

// OpenFile opens the file, or creates it and its folder. A damaged file is renamed and replaced by
// a new one, see [File.Renamed].
//
// It returns [ErrLocked] if another process has the file open. It returns [ErrDamaged] if the file
// is damaged and its new name is already used by an earlier damaged file.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	var err error
	f.db, f.renamed, err = boltfile.Open(path, boltfile.Layout{Root: recordsBucket, Init: initFile, Check: f.check})
	if err != nil {
		return nil, fmt.Errorf("opening the assignments: %w", err)
	}
	if f.version == 0 || f.renamed != "" {
		f.version = entryVersion // the file is new
	}
	return f, nil
}

// Renamed returns the new name of a damaged file, whose records were not loaded, or "".
func (f *File) Renamed() string { return f.renamed }

// check reads the format and all pages of the file. A later format is an error, but not damage.
func (f *File) check(tx *bbolt.Tx) error {
	var have []byte
	if meta := tx.Bucket(metaBucket); meta != nil {
		have = meta.Get(formatKey)
	}
	switch {
	case have == nil:
		return fmt.Errorf("%w: it has no format", ErrDamaged)
	case bytes.Equal(have, oldFormat):
		f.version = 1
	case bytes.Equal(have, format), bytes.Equal(have, kindFormat):
		f.version = entryVersion
	default:
		return fmt.Errorf("it has the format %q, and this Rollcall reads 1 to 3: "+
			"use the Rollcall that wrote it, or move the file away", have)
	}
	return tx.Bucket(recordsBucket).ForEach(func(_, _ []byte) error { return nil })
}

func initFile(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	return meta.Put(formatKey, format)
}

// Load implements [Store]. It leaves damaged records out and drops them from the file, because
// other pods have them. A copy of the damaged file is kept, see [File.Damaged].
//
// It returns ErrDamaged.
func (f *File) Load(take func(r Record)) error {
	if err := f.empty(); err != nil { // for a caller that has saved records before
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var host presence.HostName // last host: thousands of records share its text
	var whole, damaged, count int
	err := f.db.View(func(tx *bbolt.Tx) error {
		count = int(min(countOf(tx), maxRecords))
		return tx.Bucket(recordsBucket).ForEach(func(key, value []byte) error {
			r, err := decode(key, value, f.version)
			if err != nil {
				damaged++
				return nil
			}
			if r.Host == host {
				r.Host = host
			}
			host = r.Host
			whole++
			take(r)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("reading the assignments: %w", err)
	}
	if damaged != 0 || whole != count || f.version != entryVersion {
		// A damaged page can have lost records without an error. The first format has no count.
		if err := f.rewrite(max(damaged, count-whole)); err != nil {
			return err
		}
	}
	return f.replay(take)
}

// Save implements [Store]. Calls that come during a write share the next one.
func (f *File) Save(records []Record) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.writing.Write(f.write, records...); err != nil {
		return fmt.Errorf("writing the assignments: %w", err)
	}
	return nil
}

// Delete implements [Store].
func (f *File) Delete(records []Record) error {
	if err := f.empty(); err != nil { // otherwise, the journal could bring them back
		return err
	}
	return f.commit(func(bucket *bbolt.Bucket) (more int, err error) {
		for i := range records {
			key := appendKey(nil, &records[i])
			if old, ok := stored(bucket, key); ok && sumOf(&old) == sumOf(&records[i]) {
				if err := bucket.Delete(key); err != nil {
					return more, err
				}
				more--
			}
		}
		return more, nil
	})
}

// commit makes a change in one transaction.
func (f *File) commit(change func(bucket *bbolt.Bucket) (more int, err error)) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := update(f.db, change); err != nil {
		return fmt.Errorf("writing the assignments: %w", err)
	}
	return nil
}

// update makes a change in one transaction. The change returns by how much it has increased the
// number of records.
func update(db *boltfile.File, change func(bucket *bbolt.Bucket) (more int, err error)) error {
	return db.Update(func(tx *bbolt.Tx) error {
		more, err := change(tx.Bucket(recordsBucket))
		if err != nil || more == 0 {
			return err
		}
		count := make([]byte, 0, 8)
		return tx.Bucket(metaBucket).Put(countKey, binary.BigEndian.AppendUint64(count, countOf(tx)+uint64(more)))
	})
}

// countOf returns the stored number of records; 0 if there is none.
func countOf(tx *bbolt.Tx) uint64 {
	count := tx.Bucket(metaBucket).Get(countKey)
	if len(count) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(count)
}

// put writes the records that are later than those in the bucket, and returns the change in the
// number of records. It writes them by their keys, because sorted keys are cheaper to write.
func put(bucket *bbolt.Bucket, records []Record) (more int, err error) {
	type keyed struct {
		key []byte
		r   *Record
	}
	sorted := make([]keyed, len(records))
	for i := range records {
		sorted[i] = keyed{appendKey(nil, &records[i]), &records[i]}
	}
	slices.SortStableFunc(sorted, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	for _, k := range sorted {
		key, r := k.key, k.r
		if old, ok := stored(bucket, key); ok {
			merged := old.Merge(*r)
			if merged == old {
				continue
			}
			r = &merged
		}
		if r.Kind != KindAssignment {
			if err := raiseFormat(bucket.Tx()); err != nil {
				return more, err
			}
		}
		wipe := key[:len(key)-len(r.Channel)]
		if old, ok := stored(bucket, wipe); ok && r.Channel != "" && old.Version.Compare(r.Version) >= 0 {
			continue
		}
		if r.wipe() {
			ended, err := end(bucket, key, r.Version)
			more -= ended
			if err != nil {
				return more, err
			}
		}
		if bucket.Get(key) == nil {
			more++
		}
		if err := bucket.Put(key, encodeValue(key, r)); err != nil {
			return more, err
		}
	}
	return more, nil
}

// raiseFormat marks the file as one with records of several kinds.
func raiseFormat(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if bytes.Equal(meta.Get(formatKey), kindFormat) {
		return nil
	}
	return meta.Put(formatKey, kindFormat)
}

// end deletes the assignments that a wipe of the version removes, and returns their number. The key
// of a wipe is the prefix of the keys of all records of its user.
func end(bucket *bbolt.Bucket, wipe []byte, v Version) (n int, err error) {
	c := bucket.Cursor()
	var keys [][]byte
	for key, _ := c.Seek(wipe); key != nil && bytes.HasPrefix(key, wipe); key, _ = c.Next() {
		if len(key) == len(wipe) {
			continue
		}
		if old, ok := stored(bucket, key); ok && old.Kind == KindAssignment && old.Version.Compare(v) <= 0 {
			keys = append(keys, bytes.Clone(key))
		}
	}
	for _, key := range keys {
		if err := bucket.Delete(key); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func stored(bucket *bbolt.Bucket, key []byte) (Record, bool) {
	value := bucket.Get(key)
	if value == nil {
		return Record{}, false
	}
	r, err := decode(key, value, entryVersion)
	return r, err == nil
}

// Close closes the file after the writes in progress. What cannot be written to the database stays
// in the journal, which is read when the file is opened again.
func (f *File) Close() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.writing.Lock()
	defer f.writing.Unlock()
	_, _ = f.endJournal()
	if f.direct = os.ErrClosed; f.journal != nil {
		_, _ = f.journal.close()
		f.journal = nil
	}
	return f.db.Close()
}

var _ Store = (*File)(nil)
