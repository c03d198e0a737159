// Package boltfile keeps a bbolt database in a file, and handles failing disks and processes. All
// of Rollcall's files follow one policy:
//
//   - A file is created under a temporary name, so that a full disk or a killed process never
//     leaves an incomplete one.
//   - A second process gets [ErrLocked] at once.
//   - A file that is found damaged when it is opened is renamed, never deleted, and replaced
//     by a new one. While the renamed file is there, the next damaged one is an error.
//   - A file that is found damaged later makes each call return [ErrDamaged], until it is
//     opened again.
//   - On a full disk, [File.Update] fails and changes nothing. Later calls try again.
//
// bbolt maps the file into memory, so a failing disk or a truncated file causes a memory fault.
// bbolt also panics on data that it did not write. Both become ErrDamaged here. bbolt has checksums
// only for its two head pages: callers add one to each record.
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
	// ErrLocked is returned if another process has the file open.
	ErrLocked = errors.New("another process uses the file: give each process a data folder of its own")
	// ErrDamaged is returned if the file is damaged or has another layout.
	ErrDamaged = errors.New("the file is damaged")
)

// Suffixes of the files next to a database.
const (
	DamagedExt = ".damaged" // the damaged file, renamed
	newExt     = ".new"     // a file that is being written; CreateTemp adds a random number
)

// Layout describes the content of a file. Root is required.
type Layout struct {
	Root []byte // name of the bucket that every file has

	// Init fills a new file, which already has the root bucket. If nil, the bucket stays empty.
	Init func(tx *bbolt.Tx) error

	// Check reads enough to decide whether the file is whole. It is not called for a new file. If
	// its error wraps ErrDamaged, the file is renamed; after any other error it stays as it is. If
	// nil, every file is whole.
	Check func(tx *bbolt.Tx) error
}

// File is an open database. It is safe for concurrent use.
type File struct {
	path   string
	db     *bbolt.DB
	file   *os.File              // the file of db
	broken atomic.Pointer[error] // bbolt's panic, after which it may hold its locks; nil before

	writing Batches[func(tx *bbolt.Tx) error]
}

// refused holds the damaged files that could not be renamed, by path. Reading a large one again
// takes long and can leave it mapped. So it is not read again until it changes or the renamed file
// is gone.
var refused sync.Map // string to refusal

type refusal struct {
	info os.FileInfo
	err  error
}

// Open opens the file, and creates it and its folder if they do not exist. renamed is the new name
// of a damaged file that was replaced, "" if there was none.
//
// It returns [ErrLocked], and [ErrDamaged] for a damaged file that was not renamed because a
// renamed one already exists.
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
		return nil, "", fmt.Errorf("the damaged file is now %s, but a new one cannot be made: %w", renamed, err)
	}
	return f, renamed, nil
}

// refuse returns and records the error of a damaged file that cannot be renamed.
func refuse(path string, err error) error {
	err = fmt.Errorf("%w, and %s is there already: look at both, then move them away", err, path+DamagedExt)
	if info, failed := os.Stat(path); failed == nil {
		refused.Store(path, refusal{info, err})
	}
	return err
}

// exists reports whether the path exists or cannot be examined.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// openFile opens the file, creates it if it does not exist, and checks it.
func openFile(path string, l Layout) (*File, error) {
	if !exists(path) {
		if err := makeFile(path); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, withoutPath(err))
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
		Timeout:      time.Millisecond, // a single attempt; 0 would wait forever
		FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag, mode)
			if f.file == nil { // bbolt opens more files for a copy
				f.file = file
			}
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

// openError translates an error of bbolt. bbolt has no error for a file that is shorter than its
// head pages. Such a file is damaged, because a file gets its name only when it is whole.
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

// prepare checks a file that has content, and fills a new one. It writes nothing to a whole file,
// so that it can be read on a full disk.
func (f *File) prepare(l Layout) error {
	fresh := false
	err := f.db.View(func(tx *bbolt.Tx) error {
		if err := f.complete(tx); err != nil {
			return err
		}
		if tx.Bucket(l.Root) == nil {
			if tx.ID() > 1 { // bbolt creates a file with the transactions 0 and 1
				return fmt.Errorf("%w: it has data but no bucket %q", ErrDamaged, l.Root)
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

// complete returns an error if the file is shorter than its data.
func (f *File) complete(tx *bbolt.Tx) error {
	info, err := f.file.Stat()
	if err == nil && tx.Size() > info.Size() {
		err = fmt.Errorf("%w: it has %d bytes of %d", ErrDamaged, info.Size(), tx.Size())
	}
	return err
}

// makeFile creates a file without buckets. The file gets its name when it is whole. Otherwise a
// full disk or a killed process would leave an incomplete file, which counts as damaged.
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
	// Unlike a rename, a link does not replace a file that another process has just created. Some
	// file systems have no links.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	return SyncFolder(filepath.Dir(path))
}

// withoutPath returns the error without the random name of a temporary file: callers log the same
// error once.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}

// SyncFolder syncs the names in a folder to disk.
func SyncFolder(folder string) error {
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
