package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/rollcall-gateway/rollcall/presence"
)

const (
	fileName = "copies.db"
	asideExt = ".damaged"
)

// ErrLocked is returned when another process has the file.
var ErrLocked = errors.New("another process has the file of waiting copies: give each a data folder of its own")

// errBroken is returned by all that needs the file after it was found to be damaged.
var errBroken = errors.New("the file of waiting copies is damaged: it is set aside at the next start")

// rootBucket holds a bucket for each host. The name changes with the layout.
var rootBucket = []byte("copies-1")

// store is the file with all that waits. Its methods may be called by several goroutines.
type store struct {
	db     *bbolt.DB
	file   *os.File    // of db
	broken atomic.Bool // bbolt panicked, and may hold its locks
}

// openStore opens the file in the folder, and makes both if they are not there. A file that cannot be read is set
// aside, under a name that it returns, unless one is there already.
func openStore(folder string) (s *store, aside string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, "", fmt.Errorf("making the folder for copies: %w", err)
	}
	file := filepath.Join(folder, fileName)
	s, err = openFile(file)
	if !isDamage(err) {
		return s, "", err
	}
	aside = file + asideExt
	if _, there := os.Lstat(aside); there == nil {
		return nil, "", fmt.Errorf("%w, and %s is there already: look at both, then move them away", err, aside)
	}
	if err := os.Rename(file, aside); err != nil {
		return nil, "", fmt.Errorf("setting a damaged file aside: %w", err)
	}
	if s, err = openFile(file); err != nil {
		return nil, "", fmt.Errorf("a damaged file is set aside as %s, and then %w", aside, err)
	}
	return s, aside, nil
}

// makeFile makes the file if it is not there. It gets its name when it is whole: otherwise one that was left unfinished,
// because the disk is full or the process was killed, would be a damaged one.
func makeFile(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), fileName+".new-*")
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
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(f.Name(), file); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(file))
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

func isDamage(err error) bool {
	for _, damage := range []error{
		errBroken, bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum,
		bolterrors.ErrInvalidMapping,
	} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

func openFile(file string) (*store, error) {
	if err := makeFile(file); err != nil {
		return nil, fmt.Errorf("making the file of waiting copies: %w", err)
	}
	s := new(store)
	err := s.guard(func() (err error) {
		// The least timeout is one try.
		s.db, err = bbolt.Open(file, 0o600, &bbolt.Options{
			Timeout: time.Millisecond, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				s.file = f
				return f, err
			},
		})
		if err != nil {
			return nameDamage(err, file)
		}
		if err = s.check(file); err != nil {
			_ = s.db.Close()
		}
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case err != nil:
		if s.broken.Load() {
			_ = s.file.Close() // nobody else does
		}
		return nil, fmt.Errorf("opening the file of waiting copies: %w", err)
	}
	return s, nil
}

// nameDamage returns what an error of bbolt means for a file that this process had the lock of. That there is not even
// room for what each file begins with has no error of its own.
func nameDamage(err error, file string) error {
	info, failed := os.Stat(file)
	if failed != nil || errors.Is(err, bolterrors.ErrTimeout) || info.Size() >= int64(2*os.Getpagesize()) {
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// check reads what is in the file, and makes it ready for more.
func (s *store) check(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: it has %d bytes of %d", errBroken, info.Size(), tx.Size())
		}
		if tx.Bucket(rootBucket) == nil && tx.ID() > 2 { // bbolt makes a file with the transactions 0 and 1, and this is the next
			return fmt.Errorf("%w: it has no messages, and something was written", errBroken)
		}
		root, err := tx.CreateBucketIfNotExists(rootBucket)
		if err != nil {
			return err
		}
		if err := root.ForEachBucket(func(name []byte) error { return checkHost(root.Bucket(name), name) }); err != nil {
			return err
		}
		return eachIn(root, func(presence.HostName, uint64, uint64, int) {})
	})
}

// checkHost compares the name of a bucket with the host of the first record in it that is whole. The checksum of a record
// is not one of its place.
func checkHost(b *bbolt.Bucket, name []byte) error {
	host, err := presence.ParseHostName(string(name))
	if err != nil || host.String() != string(name) {
		return fmt.Errorf("%w: it has messages of the host %q", errBroken, name)
	}
	cursor := b.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if id, body, err := decodeRecord(v); err == nil {
			if !belongs(body, id, host) {
				return fmt.Errorf("%w: what it has for %s is of another host", errBroken, host)
			}
			return nil
		}
	}
	return nil
}

// guard calls something that uses the database. The file is mapped into memory, so a disk that fails, or a file that is
// cut, is a fault there; and bbolt panics where it finds what it never wrote. Either is an error here, and the last
// that the database is used for.
func (s *store) guard(use func() error) (err error) {
	if s.broken.Load() {
		return errBroken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			s.broken.Store(true)
			err = fmt.Errorf("%w: %v", errBroken, v)
		}
	}()
	return use()
}

func (s *store) view(read func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(read) })
}

func (s *store) update(write func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(write) })
}

// close closes the file, and thereby lets others have it. A database that is broken may hold its own lock for ever.
func (s *store) close() error {
	if s.broken.Load() {
		return s.file.Close()
	}
	return s.guard(s.db.Close)
}

// each calls for every message, host by host, with its key and the length of its record.
func (s *store) each(visit func(host presence.HostName, channel, number uint64, size int)) error {
	return s.view(func(tx *bbolt.Tx) error { return eachIn(tx.Bucket(rootBucket), visit) })
}

func eachIn(root *bbolt.Bucket, visit func(host presence.HostName, channel, number uint64, size int)) error {
	return root.ForEachBucket(func(name []byte) error {
		host, err := presence.ParseHostName(string(name))
		if err != nil {
			return nil // no host that a message could have come from
		}
		return root.Bucket(name).ForEach(func(k, v []byte) error {
			if channel, number, ok := decodeKey(k); ok {
				visit(host, channel, number, len(v))
			}
			return nil
		})
	})
}

// first returns the first message of a channel from the number on, and a copy of its record. It returns a nil record
// when there is none.
func (s *store) first(host presence.HostName, channel, from uint64) (number uint64, record []byte, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(rootBucket).Bucket([]byte(host.String()))
		if b == nil {
			return nil
		}
		k, v := b.Cursor().Seek(encodeKey(channel, from))
		if c, n, ok := decodeKey(k); ok && c == channel {
			number, record = n, append(make([]byte, 0, len(v)), v...)
		}
		return nil
	})
	return number, record, err
}

// channels returns which channels have messages, in order, from one on and at most so many, and whether there are more.
func (s *store) channels(host presence.HostName, from uint64, most int) (found []uint64, more bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(rootBucket).Bucket([]byte(host.String()))
		if b == nil {
			return nil
		}
		cursor := b.Cursor()
		for {
			k, _ := cursor.Seek(encodeKey(from, 0))
			channel, _, ok := decodeKey(k)
			if !ok {
				return nil
			}
			if len(found) == most {
				more = true
				return nil
			}
			found = append(found, channel)
			if from = channel + 1; from == 0 {
				return nil
			}
		}
	})
	return found, more, err
}
