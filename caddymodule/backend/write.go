package backend

import (
	"slices"

	"go.etcd.io/bbolt"
)

// write is the body of a transaction.
func (c *committer) write(tx *bbolt.Tx, adds []*addition, removals []removal) error {
	root := tx.Bucket(c.store.root())
	var all []*removal
	for _, a := range adds {
		if a.purge != nil {
			all = append(all, a.purge)
			continue
		}
		b, err := root.CreateBucketIfNotExists(a.queue.stream.bucket())
		if err != nil {
			return err
		}
		b.FillPercent = c.store.kind.fill
		for _, e := range slices.Concat(a.entries, a.marks) {
			if err := b.Put(encodeKey(e.channel, e.number), e.record); err != nil {
				return err
			}
		}
	}
	for i := range removals {
		all = append(all, &removals[i])
	}
	touched := make(map[*queue]*bbolt.Bucket)
	for _, r := range all {
		b := touched[r.queue]
		if b == nil {
			if b = root.Bucket(r.queue.stream.bucket()); b == nil {
				continue
			}
			touched[r.queue] = b
		}
		if err := r.apply(b); err != nil {
			return err
		}
	}
	for q, b := range touched {
		if k, _ := b.Cursor().First(); k == nil {
			if err := root.DeleteBucket(q.stream.bucket()); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply deletes the messages of a removal from the bucket of its stream, and the mark of the lane,
// unless it is of a later batch.
func (r *removal) apply(b *bbolt.Bucket) error {
	r.gone = r.gone[:0]
	cursor := b.Cursor()
	for k, v := cursor.Seek(encodeKey(r.channel, r.first)); k != nil; k, v = cursor.Next() {
		channel, number, ok := decodeKey(k)
		if !ok || channel != r.channel || number > r.last {
			break
		}
		r.gone = append(r.gone, gone{number, len(v)})
	}
	for _, m := range r.gone {
		if err := b.Delete(encodeKey(r.channel, m.number)); err != nil {
			return err
		}
	}
	key := encodeKey(r.channel, markNumber)
	if v := b.Get(key); v == nil || decodeMark(v).last > r.last {
		return nil
	}
	return b.Delete(key)
}
