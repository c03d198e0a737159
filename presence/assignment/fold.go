package assignment

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/rollcall-gateway/rollcall/internal/boltfile"
)

// write makes records durable. writing is held.
func (f *File) write(records []Record) error {
	if f.journal == nil && f.direct == nil {
		f.direct = f.beginJournal() // without room for a journal, there may be room for a page
	}
	if f.direct != nil {
		if _, err := f.endJournal(); err != nil {
			return err
		}
	}
	frame := appendFrame(nil, records)
	if f.journal == nil || len(frame) > maxFrame {
		return update(f.db, func(bucket *bbolt.Bucket) (int, error) { return put(bucket, records) })
	}
	if err := f.db.Complete(); err != nil { // said at once, not when the journal is full
		return err
	}
	if !f.journal.fits(frame) {
		if err := f.turn(); err != nil {
			return err
		}
	}
	f.direct = f.journal.append(frame)
	return f.direct
}

// RetryJournal makes a new journal if changes go to the database, because the last one could not be
// made or written. It returns that error even if the new one works.
func (f *File) RetryJournal() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.writing.Lock()
	defer f.writing.Unlock()
	failed := f.direct
	if failed == nil {
		return nil
	}
	if _, err := f.endJournal(); err == nil && f.db.Complete() == nil { // it is neither damaged nor closed
		f.direct = f.beginJournal()
	}
	return fmt.Errorf("writing the journal: %w", failed)
}

// beginJournal makes a journal and makes it known to the database. writing is held.
func (f *File) beginJournal() error {
	j, err := makeJournal(f.path + journalExt)
	if err != nil {
		return err
	}
	if err := update(f.db, func(bucket *bbolt.Bucket) (int, error) { return 0, j.setDone(bucket, 0) }); err != nil {
		_, _ = j.close() // the first error says more
		return err
	}
	f.journal = j
	return nil
}

// turn begins the next generation of the journal, while the full one is written to the database.
// writing is held.
func (f *File) turn() error {
	if err := f.fold(false); err != nil {
		return err
	}
	j, gen, db, result := f.journal, f.journal.gen, f.db, make(chan error, 1)
	j.next()
	f.folding = result
	go func() { result <- j.fold(db, gen) }()
	return nil
}

// fold writes the full generations of the journal to the database, and also the one that grows, if
// all is set. writing is held.
func (f *File) fold(all bool) error {
	j := f.journal
	if f.folding != nil {
		if <-f.folding == nil {
			j.done = j.gen - 1
		} // otherwise it is tried again below
		f.folding = nil
	}
	for _, gen := range j.waiting() {
		if gen == j.gen && !all {
			break
		}
		if err := j.fold(f.db, gen); err != nil {
			return err
		}
		j.done = gen
	}
	if all && j.areas[j.gen%2].end > 0 { // so that the file has the last two generations that have frames
		j.next()
	}
	return nil
}

// fold writes a generation to the database.
func (j *journal) fold(db *boltfile.File, gen uint64) error {
	records, err := j.records(gen)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	return update(db, func(bucket *bbolt.Bucket) (int, error) {
		if err := j.setDone(bucket, gen); err != nil {
			return 0, err
		}
		return put(bucket, records)
	})
}

// setDone makes gen the last generation that is in the database.
func (j *journal) setDone(bucket *bbolt.Bucket, gen uint64) error {
	state := binary.BigEndian.AppendUint64(nil, j.id)
	state = binary.BigEndian.AppendUint64(state, gen)
	state = binary.BigEndian.AppendUint32(state, checksum(journalKey, state))
	return bucket.Tx().Bucket(metaBucket).Put(journalKey, state)
}

// empty writes all of the journal to the database.
func (f *File) empty() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.journal == nil {
		return nil
	}
	return f.fold(true)
}

// endJournal writes all of the journal to the database, and removes it. kept is its new name, if it
// was damaged. writing is held.
func (f *File) endJournal() (kept string, err error) {
	if f.journal == nil {
		return "", nil
	}
	if err := f.fold(true); err != nil {
		return "", err
	}
	kept, err = f.journal.close()
	f.journal = nil
	return kept, err
}

// replay calls take with the records of a journal that a process left, and writes them to the
// database. On a full disk, it leaves them in the journal. If the database has had no journal, it
// is new: then it takes that of one that was damaged and renamed, by this process or an earlier
// one, or moved away. mu is held.
func (f *File) replay(take func(r Record)) error {
	var id, done uint64
	damaged := 0
	err := f.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(metaBucket).Get(journalKey)
		switch {
		case state == nil:
		case len(state) == 20 && binary.BigEndian.Uint32(state[16:]) == checksum(journalKey, state[:16]):
			id, done = binary.BigEndian.Uint64(state), binary.BigEndian.Uint64(state[8:])
		default:
			damaged = 1
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the assignments: %w", err)
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.journal != nil {
		return nil // it is empty
	}
	j, err := openJournal(f.path+journalExt, id, done)
	if j == nil || err != nil {
		return err
	}
	f.journal = j // also if it cannot be read: it must stay
	for _, gen := range j.waiting() {
		records, err := j.records(gen)
		if err != nil {
			f.direct = fmt.Errorf("reading the journal: %w", err)
			return f.direct
		}
		for _, r := range records {
			take(r)
		}
	}
	j.damaged += damaged
	damaged = j.damaged
	kept, err := f.endJournal()
	f.direct = err
	if damaged > 0 {
		f.damaged, f.kept = f.damaged+damaged, cmp.Or(f.kept, kept)
	}
	return nil
}
