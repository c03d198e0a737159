// Package boltfile keeps a bbolt database in a file through what happens to disks and processes. It has one policy for all
// of Rollcall's files:
//
//   - A file is made under another name first, so that a full disk or a killed process never leaves half of one.
//   - A second process gets [ErrLocked] at once.
//   - A file that is found to be damaged when it is opened is renamed, never deleted, and a new one takes its place. It is
//     renamed once: while the renamed file is there, the next damaged one is an error.
//   - A file that turns out to be damaged later is an error of each call from then on: [ErrDamaged], until it is opened
//     again.
//   - A full disk fails an [File.Update], which then has changed nothing. Later calls are tried again.
//
// bbolt maps the file into memory, so a disk that fails, or a file that is cut, is a fault of memory; and it panics about
// what it never wrote. Either becomes ErrDamaged here. It has no checksums but those of its two head pages: callers add one
// to each of their records.
package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of Open, View and Update.
var (
	// ErrLocked is returned when another process has the file open.
	ErrLocked = errors.New("another process uses the file: give each process a data folder of its own")
	// ErrDamaged is returned when the file is damaged, or was never one with this layout.
	ErrDamaged = errors.New("the file is damaged")
)

// The suffixes of the files next to a database.
const (
	DamagedExt = ".damaged" // the file as it was when it was found to be damaged
	newExt     = ".new"     // a file that is being written; CreateTemp adds a random number
)

// Layout is what a file has in it. Root is required.
type Layout struct {
	Root []byte // name of the bucket that every file has

	// Init fills a new file, which has the root bucket already. If nil, it stays empty.
	Init func(tx *bbolt.Tx) error

	// Check reads what is needed to know that the file is whole. It is not called for a new file. An error that wraps
	// ErrDamaged has the file renamed; with any other the file stays as it is. If nil, all files are whole.
	Check func(tx *bbolt.Tx) error
}

// File is an open database. It is safe for concurrent use.
type File struct {
	path   string
	db     *bbolt.DB
	file   *os.File              // of db
	broken atomic.Pointer[error] // what bbolt has panicked about: it may hold its locks

	writing sync.Mutex // held while a batch is written

	mu   sync.Mutex
	next *batch // that others can still add to; guarded by mu
}

// refused are the damaged files that could not be renamed, by path. They are not read again, which takes long for a large
// file and can leave it mapped, unless they change or the file in the way is gone.
var refused sync.Map // of string to refusal

type refusal struct {
	info os.FileInfo
	err  error
}

// Open opens the file, and makes it and its folder if they are not there. renamed is the new name of a damaged file whose
// place a new one has taken, and otherwise empty.
//
// It returns [ErrLocked], and [ErrDamaged] for a damaged file that was not renamed because another is there already.
func Open(path string, l Layout) (f *File, renamed string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", fmt.Errorf("making the folder: %w", err)
	}
	if known, ok := refused.Load(path); ok {
		r := known.(refusal)
		info, failed := os.Stat(path)
		if failed == nil && os.SameFile(info, r.info) && info.ModTime().Equal(r.info.ModTime()) && exists(path+DamagedExt) {
			return nil, "", r.err
		}
		refused.Delete(path)
	}
	f, err = openFile(path, l)
	if !errors.Is(err, ErrDamaged) {
		return f, "", err
	}
	renamed = path + DamagedExt
	if exists(renamed) {
		return nil, "", refuse(path, err)
	}
	if err := os.Rename(path, renamed); err != nil {
		return nil, "", fmt.Errorf("renaming a damaged file: %w", err)
	}
	if f, err = openFile(path, l); err != nil {
		return nil, "", fmt.Errorf("the damaged file is now %s, and making another: %w", renamed, err)
	}
	return f, renamed, nil
}

// refuse returns what is wrong with a damaged file when another one was kept before, and remembers it.
func refuse(path string, err error) error {
	err = fmt.Errorf("%w, and %s is there already: look at both, then move them away", err, path+DamagedExt)
	if info, failed := os.Stat(path); failed == nil {
		refused.Store(path, refusal{info, err})
	}
	return err
}

// exists reports whether there is something of that name, as far as that can be seen.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// openFile opens the file, makes it if it is not there, and checks it.
func openFile(path string, l Layout) (*File, error) {
	if !exists(path) {
		if err := makeFile(path); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, err)
		}
	}
	f := &File{path: path}
	err := f.guard(func() error { return f.open(l) })
	if err == nil {
		return f, nil
	}
	if f.broken.Load() != nil {
		f.abandon()
	}
	return nil, fmt.Errorf("opening %s: %w", path, err)
}

func (f *File) open(l Layout) (err error) {
	f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
		Timeout:      time.Millisecond, // the least is one try; 0 would wait without an end
		FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode)
			f.file = file
			return file, err
		},
	})
	if err != nil {
		return openError(f.path, err)
	}
	if err = f.prepare(l); err != nil {
		_ = f.db.Close() // the first error says more
	}
	return err
}

// openError returns what an error of bbolt means. It has none of its own for a file that is shorter than what each begins
// with: that is a damaged one, since no file gets its name before it is whole.
func openError(path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrLocked
	}
	for _, damage := range []error{
		bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum, bolterrors.ErrInvalidMapping,
	} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if info, failed := os.Stat(path); failed == nil && info.Size() < int64(2*os.Getpagesize()) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// prepare checks a file with something in it, and fills another. It writes nothing to a file that is whole, so that a full
// disk does not keep it from being read.
func (f *File) prepare(l Layout) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	fresh := false
	err = f.db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: it has %d bytes of %d", ErrDamaged, info.Size(), tx.Size())
		}
		if tx.Bucket(l.Root) == nil {
			if tx.ID() > 1 { // bbolt makes a file with the transactions 0 and 1
				return fmt.Errorf("%w: it has no bucket %q, and something was written", ErrDamaged, l.Root)
			}
			fresh = true
			return nil
		}
		if l.Check == nil {
			return nil
		}
		return l.Check(tx)
	})
	if err != nil || !fresh {
		return err
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(l.Root); err != nil || l.Init == nil {
			return err
		}
		return l.Init(tx)
	})
}

// makeFile makes a file without buckets. It gets its name when it is whole: otherwise one that was left unfinished, because
// the disk is full or the process was killed, would be a damaged one.
func makeFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newExt+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	// Unlike a rename, a link does not replace what another process has made meanwhile. Some file systems have none.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder has the names in a folder on disk.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
