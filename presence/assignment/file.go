package assignment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/presence"
)

// File is a [Store] in a file of its own, a B+ tree of bbolt: a change is whole or not at all on the disk, also when the
// process or the machine ends in the middle of it. It is safe for concurrent use; another process cannot open it meanwhile.
type File struct {
	path    string
	renamed string // where the damaged file is whose place this one has taken

	mu      sync.RWMutex   // held in Load; those who only use db hold it for reading
	db      *boltfile.File // guarded by mu
	version byte           // of the entries; guarded by mu
	damaged int            // records that Load has left out; guarded by mu
	kept    string         // copy of the file that still has them; guarded by mu
}

// The buckets of the file.
var (
	recordsBucket = []byte("assignments")
	metaBucket    = []byte("rollcall")
	formatKey     = []byte("format")
	countKey      = []byte("records") // how many there are, 8 bytes with the highest first
	format        = []byte("2")       // of a file: the version of its entries
	oldFormat     = []byte("1")
)

// OpenFile opens the file, and makes it and its folder if they are not there. A damaged file is renamed, and a new one takes
// its place, see [File.Renamed].
//
// It returns [ErrLocked] at once when another process has it open, and [ErrDamaged] for a damaged file when an earlier one is
// still there under the name that this one would get.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	var err error
	f.db, f.renamed, err = boltfile.Open(path, boltfile.Layout{Root: recordsBucket, Init: initFile, Check: f.check})
	if err != nil {
		return nil, fmt.Errorf("the assignments: %w", err)
	}
	if f.version == 0 || f.renamed != "" {
		f.version = entryVersion // it is a new file
	}
	return f, nil
}

// Renamed returns the new name of a damaged file that OpenFile has found, and otherwise an empty string. Nothing of such a
// file was loaded.
func (f *File) Renamed() string { return f.renamed }

// check reads the format, and all pages of the file. A file of a later format is not a damaged one.
func (f *File) check(tx *bbolt.Tx) error {
	var have []byte
	if meta := tx.Bucket(metaBucket); meta != nil {
		have = meta.Get(formatKey)
	}
	switch {
	case have == nil:
		return fmt.Errorf("%w: it does not say which format it has", ErrDamaged)
	case bytes.Equal(have, oldFormat):
		f.version = 1
	case bytes.Equal(have, format):
		f.version = entryVersion
	default:
		return fmt.Errorf("it has the format %q, and this Rollcall reads 1 and 2: "+
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

// Load implements [Store]. A record that is damaged is left out, and dropped from the file: other pods have it. The
// damaged file is kept under another name then, see [File.Damaged].
//
// It returns ErrDamaged.
func (f *File) Load(take func(r Record)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var host presence.HostName // the last one: thousands of records share its text
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
	if damaged == 0 && whole == count && f.version == entryVersion {
		return nil
	}
	// A page can say that it has fewer records than it has. The first format has no count.
	return f.rewrite(max(damaged, count-whole))
}

// Save implements [Store]. What comes while other records are written is synced together.
func (f *File) Save(records []Record) error {
	sorted := slices.Clone(records) // put sorts it
	return f.commit(func(bucket *bbolt.Bucket) (int, error) { return put(bucket, sorted) })
}

// Delete implements [Store].
func (f *File) Delete(records []Record) error {
	return f.commit(func(bucket *bbolt.Bucket) (more int, err error) {
		for i := range records {
			key := appendKey(nil, &records[i])
			if old, ok := stored(bucket, key); ok && old.Version == records[i].Version {
				if err := bucket.Delete(key); err != nil {
					return more, err
				}
				more--
			}
		}
		return more, nil
	})
}

// commit changes the file, all or nothing.
func (f *File) commit(change func(bucket *bbolt.Bucket) (more int, err error)) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := update(f.db, change); err != nil {
		return fmt.Errorf("writing the assignments: %w", err)
	}
	return nil
}

// update changes the records in one transaction, and counts them; more is how many more there are.
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

// countOf returns how many records there are as far as they were counted.
func countOf(tx *bbolt.Tx) uint64 {
	count := tx.Bucket(metaBucket).Get(countKey)
	if len(count) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(count)
}

// put writes those that are later than what is there, and returns how many of them are new. Sorted keys are cheaper.
func put(bucket *bbolt.Bucket, records []Record) (more int, err error) {
	slices.SortFunc(records, func(a, b Record) int { return bytes.Compare(appendKey(nil, &a), appendKey(nil, &b)) })
	for i := range records {
		key := appendKey(nil, &records[i])
		if old, ok := stored(bucket, key); ok && old.Version.Compare(records[i].Version) >= 0 {
			continue
		}
		if bucket.Get(key) == nil {
			more++
		}
		if err := bucket.Put(key, encodeValue(key, &records[i])); err != nil {
			return more, err
		}
	}
	return more, nil
}

func stored(bucket *bbolt.Bucket, key []byte) (Record, bool) {
	value := bucket.Get(key)
	if value == nil {
		return Record{}, false
	}
	r, err := decode(key, value, entryVersion)
	return r, err == nil
}

// Close ends the use of the file, after what is being written.
func (f *File) Close() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.db.Close()
}

var _ Store = (*File)(nil)
