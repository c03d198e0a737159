package backend

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// batch is the content of a request: consecutive messages of a lane.
//
// A batch is repeated as it was, also after a restart of the process. One that is full is the same
// whenever it is read. One that ended at the last message of its lane would grow, so its numbers
// are on disk before it is sent, as the mark of the lane. When a mark is written, the removals of
// all earlier batches of the lane are written with it: until then, a batch ends before the mark.
type batch struct {
	mark
	id     string // of the first message
	bodies [][]byte
	damage error // the first record, alone in the batch, is not what was written
	open   bool  // it ended at the last message of its lane, and has no mark yet
}

// mark has the numbers of the first and the last message of a batch. It is the value of number 0 of
// its lane, which no message has.
type mark struct{ first, last uint64 }

const markNumber = 0

func (m mark) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), m.first), m.last)
}

// decodeMark parses a mark. It returns the zero mark if b is not one.
func decodeMark(b []byte) mark {
	if len(b) != 16 {
		return mark{}
	}
	m := mark{first: binary.BigEndian.Uint64(b), last: binary.BigEndian.Uint64(b[8:])}
	if m.first == 0 || m.last < m.first {
		return mark{}
	}
	return m
}

// batch returns the first batch of a lane whose numbers are at least from, with at most limit
// messages; the zero batch if there is none.
func (s store) batch(of Stream, channel, from uint64, limit int) (b batch, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(s.root()).Bucket(of.bucket())
		if bucket == nil {
			return nil
		}
		sent := decodeMark(bucket.Get(encodeKey(channel, markNumber)))
		b.open = limit > 1
		size := 0
		cursor := bucket.Cursor()
		for k, v := cursor.Seek(encodeKey(channel, max(from, 1))); k != nil; k, v = cursor.Next() {
			c, number, ok := decodeKey(k)
			switch {
			case !ok || c != channel:
				return nil
			case b.last == 0:
				b.first = number
			case b.first < sent.first && number >= sent.first,
				sent.first <= b.first && b.first <= sent.last && number > sent.last,
				len(b.bodies) == limit, size+len(v) > maxBatchBytes:
				b.open = false
				return nil
			}
			id, body, err := decodeRecord(v)
			if err == nil && !belongs(body, id, of.Host) {
				err = errForeign
			}
			switch {
			case err != nil && b.last != 0: // it is the next batch
				b.open = false
				return nil
			case err != nil:
				b.id, b.last, b.damage, b.open = id, number, err, false
				return nil
			case b.last == 0:
				b.id = id
			}
			b.last = number
			b.bodies = append(b.bodies, append(make([]byte, 0, len(body)), body...))
			size += len(v)
			if len(b.bodies) == limit || b.last == sent.last {
				b.open = false
				return nil
			}
		}
		return nil
	})
	if b.last == 0 {
		b.open = false
	}
	return b, err
}
