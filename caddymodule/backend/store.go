package backend

import (
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
	"github.com/rollcall-gateway/rollcall/presence"
)

const fileName = "copies.db"

// ErrLocked is returned when another process has the file.
var ErrLocked = boltfile.ErrLocked

// rootBucket contains a bucket for each host. Its name changes with the layout.
var rootBucket = []byte("copies-1")

// store is the file of queued messages. Its methods may be called concurrently.
type store struct{ *boltfile.File }

// openStore opens the file in the folder, creating both if necessary. renamed is the new path of a
// damaged file that was replaced.
func openStore(folder string) (s store, renamed string, err error) {
	s.File, renamed, err = boltfile.Open(filepath.Join(folder, fileName), boltfile.Layout{Root: rootBucket, Check: check})
	if err != nil {
		return store{}, "", fmt.Errorf("the file of waiting copies: %w", err)
	}
	return s, renamed, nil
}

// check reads the whole file.
func check(tx *bbolt.Tx) error {
	root := tx.Bucket(rootBucket)
	if err := root.ForEachBucket(func(name []byte) error { return checkHost(root.Bucket(name), name) }); err != nil {
		return err
	}
	return eachIn(root, func(presence.HostName, uint64, uint64, int) {})
}

// checkHost compares the name of a bucket with the host of the first intact record in it. The
// checksum of a record does not cover its position.
func checkHost(b *bbolt.Bucket, name []byte) error {
	host, err := presence.ParseHostName(string(name))
	if err != nil || host.String() != string(name) {
		return fmt.Errorf("%w: it has messages of %q, which is not a host", boltfile.ErrDamaged, name)
	}
	cursor := b.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if id, body, err := decodeRecord(v); err == nil {
			if !belongs(body, id, host) {
				return fmt.Errorf("%w: a message stored for %s belongs to another host", boltfile.ErrDamaged, host)
			}
			return nil
		}
	}
	return nil
}

// each calls visit for every message, host by host, with its key and the size of its record.
func (s store) each(visit func(host presence.HostName, channel, number uint64, size int)) error {
	return s.View(func(tx *bbolt.Tx) error { return eachIn(tx.Bucket(rootBucket), visit) })
}

func eachIn(root *bbolt.Bucket, visit func(host presence.HostName, channel, number uint64, size int)) error {
	return root.ForEachBucket(func(name []byte) error {
		host, err := presence.ParseHostName(string(name))
		if err != nil {
			return nil // not a host, so it has no messages
		}
		return root.Bucket(name).ForEach(func(k, v []byte) error {
			if channel, number, ok := decodeKey(k); ok {
				visit(host, channel, number, len(v))
			}
			return nil
		})
	})
}

// first returns the first message of a channel whose number is at least from, and a copy of its
// record; nil if there is none.
func (s store) first(host presence.HostName, channel, from uint64) (number uint64, record []byte, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
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

// channels returns, in order, at most limit channels with messages, starting at from, and whether
// there are more.
func (s store) channels(host presence.HostName, from uint64, limit int) (found []uint64, more bool, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
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
