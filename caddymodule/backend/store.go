package backend

import (
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// ErrLocked is returned when another process has the file.
var ErrLocked = boltfile.ErrLocked

// store is the file of queued messages. Its methods may be called concurrently.
type store struct {
	*boltfile.File
	kind *kind
}

// root returns the name of the bucket that contains a bucket for each stream.
func (s store) root() []byte { return []byte(s.kind.root) }

// openStore opens the file in the folder, creating both if necessary. renamed is the new path of a
// damaged file that was replaced.
func openStore(folder string, of *kind) (s store, renamed string, err error) {
	s.kind = of
	s.File, renamed, err = boltfile.Open(filepath.Join(folder, of.file), boltfile.Layout{Root: s.root(), Check: s.check})
	if err != nil {
		return store{}, "", fmt.Errorf("the file %s: %w", of.file, err)
	}
	return s, renamed, nil
}

// check reads the whole file.
func (s store) check(tx *bbolt.Tx) error {
	root := tx.Bucket(s.root())
	if err := root.ForEachBucket(func(name []byte) error { return checkStream(root.Bucket(name), name) }); err != nil {
		return err
	}
	return eachIn(root, func(Stream, uint64, uint64, int) {})
}

// checkStream compares the name of a bucket with the host of the first intact record in it. The
// checksum of a record does not cover its position.
func checkStream(b *bbolt.Bucket, name []byte) error {
	of, ok := parseStream(name)
	if !ok {
		return fmt.Errorf("%w: it has messages of %q, which is not a host", boltfile.ErrDamaged, name)
	}
	cursor := b.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if id, body, err := decodeRecord(v); err == nil {
			if !belongs(body, id, of.Host) {
				return fmt.Errorf("%w: a message stored for %s belongs to another host", boltfile.ErrDamaged, of.Host)
			}
			return nil
		}
	}
	return nil
}

// each calls visit for every message, stream by stream, with its key and the size of its record.
func (s store) each(visit func(of Stream, channel, number uint64, size int)) error {
	return s.View(func(tx *bbolt.Tx) error { return eachIn(tx.Bucket(s.root()), visit) })
}

func eachIn(root *bbolt.Bucket, visit func(of Stream, channel, number uint64, size int)) error {
	return root.ForEachBucket(func(name []byte) error {
		of, ok := parseStream(name)
		if !ok {
			return nil // not a stream, so it has no messages
		}
		return root.Bucket(name).ForEach(func(k, v []byte) error {
			if channel, number, ok := decodeKey(k); ok && number != markNumber {
				visit(of, channel, number, len(v))
			}
			return nil
		})
	})
}

// channels returns, in order, at most limit channels with messages, starting at from, and whether
// there are more.
func (s store) channels(of Stream, from uint64, limit int) (found []uint64, more bool, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(s.root()).Bucket(of.bucket())
		if b == nil {
			return nil
		}
		cursor := b.Cursor()
		for {
			k, _ := cursor.Seek(encodeKey(from, markNumber))
			channel, _, ok := decodeKey(k)
			if !ok {
				return nil
			}
			if len(found) == limit {
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
