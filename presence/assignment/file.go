package assignment

import (
	"bytes"
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
	db   *bbolt.DB

	writing sync.Mutex // held while a batch is written
	broken  error      // why the file is not touched any longer; guarded by writing

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
	format        = []byte("1")
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
	f := &File{path: path, db: db}
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
			if meta := tx.Bucket(metaBucket); found && (meta == nil || string(meta.Get(formatKey)) != string(format)) {
				return fmt.Errorf("%w: it has another format", ErrCorrupt)
			}
			return nil
		})
		if err != nil || found {
			return err
		}
	}
	err := f.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(recordsBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(formatKey, format)
	})
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
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

// Load implements [Store].
//
// It returns ErrCorrupt.
func (f *File) Load(take func(r Record)) (err error) {
	defer recovered(f.path, &err)()
	var host presence.HostName // the last one: thousands of records share its text
	return f.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(recordsBucket).ForEach(func(key, value []byte) error {
			r, err := decode(key, value)
			if err != nil {
				return fmt.Errorf("%s: %w: %w", f.path, ErrCorrupt, err)
			}
			if r.Host == host {
				r.Host = host
			}
			host = r.Host
			take(r)
			return nil
		})
	})
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
		b.err = f.commit(func(bucket *bbolt.Bucket) error { return put(bucket, b.records) })
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
	return f.commit(func(bucket *bbolt.Bucket) error {
		for i := range records {
			key := appendKey(nil, &records[i])
			if old, ok := stored(bucket, key); ok && old.Version == records[i].Version {
				if err := bucket.Delete(key); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// commit changes the file, all or nothing. The caller holds writing.
func (f *File) commit(change func(bucket *bbolt.Bucket) error) (err error) {
	if f.broken != nil {
		return f.broken
	}
	defer func() {
		if errors.Is(err, ErrCorrupt) {
			f.broken = err // what is in memory of the file may be half of something
		}
	}()
	defer recovered(f.path, &err)()
	err = f.db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket(recordsBucket)) })
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("writing the assignments: %w", err)
	}
	return err
}

// put writes those that are later than what is there. Sorted keys are cheaper.
func put(bucket *bbolt.Bucket, records []Record) error {
	slices.SortFunc(records, func(a, b Record) int { return bytes.Compare(appendKey(nil, &a), appendKey(nil, &b)) })
	for i := range records {
		key := appendKey(nil, &records[i])
		if old, ok := stored(bucket, key); ok && old.Version.Compare(records[i].Version) >= 0 {
			continue
		}
		if err := bucket.Put(key, appendValue(nil, &records[i])); err != nil {
			return err
		}
	}
	return nil
}

func stored(bucket *bbolt.Bucket, key []byte) (Record, bool) {
	value := bucket.Get(key)
	if value == nil {
		return Record{}, false
	}
	r, err := decode(key, value)
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
