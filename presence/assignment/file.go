package assignment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/rollcall-gateway/rollcall/presence"
)

// File is a [Store] in a file of its own, a B+ tree of bbolt: a change is whole or not at all on the disk, also when the
// process or the machine ends in the middle of it. It is safe for concurrent use; another process cannot open it meanwhile.
type File struct {
	path string

	writing sync.Mutex // held while a batch is written, and in Load
	db      *bbolt.DB  // guarded by writing
	version byte       // of the entries; guarded by writing
	broken  error      // why the file is no longer used; guarded by writing
	damaged int        // records that Load has left out; guarded by writing

	mu   sync.Mutex
	next *batch // that others can still add to; guarded by mu
}

// batch is records that are written and synced together.
type batch struct {
	records []Record
	done    chan struct{} // closed when err is there
	err     error
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

// OpenFile opens the file, and makes it and its folder if they are not there.
//
// It returns [ErrLocked] at once when another process has it open, and [ErrCorrupt] for a file that is damaged. Such a file
// can stay locked by this process, and a part of it mapped into memory: it is not worth another try.
func OpenFile(path string) (_ *File, err error) {
	defer recovered(path, &err)()
	_, err = os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the assignments: %w", err)
	}
	// The least patience with who has the lock: 0 would be patience without an end.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Nanosecond})
	if err != nil {
		err = openError(path, err)
		if fresh && !errors.Is(err, ErrLocked) {
			_ = os.Remove(path) // half a file, for which there was no room, would be in the way when there is
		}
		return nil, fmt.Errorf("opening the assignments: %w", err)
	}
	f := &File{path: path, db: db, version: entryVersion}
	if err := f.prepare(fresh); err != nil {
		_ = db.Close() // the first error says more
		return nil, fmt.Errorf("opening the assignments: %s: %w", path, err)
	}
	return f, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	return err
}

// prepare makes the buckets of a new file, and checks those of another.
func (f *File) prepare(fresh bool) error {
	if !fresh {
		found := false
		err := f.db.View(func(tx *bbolt.Tx) error {
			found = tx.Bucket(recordsBucket) != nil
			if !found && tx.ID() > 1 { // bbolt makes a file with the transactions 0 and 1
				return fmt.Errorf("%w: it has no assignments, and something was written", ErrCorrupt)
			}
			if !found {
				return nil // it was killed before anything was written
			}
			var have []byte
			if meta := tx.Bucket(metaBucket); meta != nil {
				have = meta.Get(formatKey)
			}
			switch {
			case bytes.Equal(have, oldFormat):
				f.version = 1
			case !bytes.Equal(have, format):
				return fmt.Errorf("%w: it has the format %q, and this Rollcall reads 1 and 2: "+
					"use the Rollcall that wrote it, or move the file away", ErrCorrupt, have)
			}
			return nil
		})
		if err != nil || found {
			return err
		}
	}
	if err := makeBuckets(f.db); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

func makeBuckets(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(recordsBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(formatKey, format)
	})
}

// syncFolder makes the name of a new file last.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Load implements [Store]. A record that is damaged is left out, and dropped from the file: other pods have it. The
// damaged file is kept under another name then, see [File.Damaged].
//
// It returns ErrCorrupt.
func (f *File) Load(take func(r Record)) (err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	defer recovered(f.path, &err)()
	var host presence.HostName // the last one: thousands of records share its text
	var whole, damaged, count int
	err = f.db.View(func(tx *bbolt.Tx) error {
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
	if err != nil || damaged == 0 && whole == count && f.version == entryVersion {
		return err
	}
	// A page can say that it has fewer records than it has. The first format has no count.
	return f.rewrite(max(damaged, count-whole))
}

// Save implements [Store]. What comes while another batch is written is synced together.
func (f *File) Save(records []Record) error {
	f.mu.Lock()
	b := f.next
	first := b == nil
	if first {
		b = &batch{done: make(chan struct{})}
		f.next = b
	}
	b.records = append(b.records, records...)
	f.mu.Unlock()
	if first {
		f.writing.Lock()
		f.mu.Lock()
		f.next = nil
		f.mu.Unlock()
		b.err = f.commit(func(bucket *bbolt.Bucket) (int, error) { return put(bucket, b.records) })
		f.writing.Unlock()
		close(b.done)
	}
	<-b.done
	return b.err
}

// Delete implements [Store].
func (f *File) Delete(records []Record) error {
	f.writing.Lock()
	defer f.writing.Unlock()
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

// commit changes the file, all or nothing. The caller holds writing.
func (f *File) commit(change func(bucket *bbolt.Bucket) (more int, err error)) (err error) {
	if f.broken != nil {
		return f.broken
	}
	defer func() {
		if errors.Is(err, ErrCorrupt) {
			f.broken = err // what is in memory of the file may be half of something
		}
	}()
	defer recovered(f.path, &err)()
	err = update(f.db, change)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("writing the assignments: %w", err)
	}
	return err
}

// update changes the records in one transaction, and counts them; more is how many more there are.
func update(db *bbolt.DB, change func(bucket *bbolt.Bucket) (more int, err error)) error {
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
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.broken != nil {
		return nil // bbolt has panicked, and may hold a lock that its Close would wait for without an end
	}
	return f.db.Close()
}

// recovered makes an error of what bbolt does about a damaged file: it panics, or reads beyond the end of the file, which
// is a fault of memory. It is to be called at the begin, and what it returns at the end.
func recovered(path string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if v := recover(); v != nil {
			*err = fmt.Errorf("%s: %w: %v", path, ErrCorrupt, v)
		}
	}
}

var _ Store = (*File)(nil)
