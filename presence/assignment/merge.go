package assignment

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Held compares a book with the records of a merge.
type Held struct {
	// Later is the latest version in the book that is later than a record's for the same channel;
	// zero if there is none.
	Later Version
	// Ended is set if a blind removal has removed something.
	Ended bool
}

// Merge applies the records of another pod that are later than those in the book, and stores them,
// see [Book.Take] and [Book.Keep].
//
// It returns ErrUnavailable, or ErrTooMany if there is no room for some records.
func (b *Book) Merge(records []Record) (Held, error) {
	held, err := b.Take(records)
	return held, cmp.Or(b.Keep(), err)
}

// Take applies the records of another pod that are later than those in the book. They, and those
// that the book had already, are durable when [Book.Keep] has returned nil after that.
//
// It returns ErrTooMany if there is no room for some records.
func (b *Book) Take(records []Record) (Held, error) {
	now := b.now()
	given := records
	records = slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		// A stale removal still removes an assignment, and is dropped later.
		return !r.Valid() || r.stale(now) && (r.Kind != KindAssignment || !b.knows(&r))
	})
	for i := range records {
		records[i].Local = 0 // that of another pod
	}
	b.taking.Lock()
	fresh, all := b.apply(records, true)
	b.await(fresh)
	b.taking.Unlock()
	b.placeNew(fresh)
	b.notify(fresh)
	if !all {
		b.notifyRemoved(records) // also those without room
	}
	held := b.held(given)
	if !all {
		return held, ErrTooMany
	}
	return held, nil
}

// held compares the book with the records.
func (b *Book) held(records []Record) (h Held) {
	for i := range records {
		r := &records[i]
		if r.Kind != KindAssignment { // values merge whatever their versions are
			continue
		}
		v, ended := b.shard(r.Host, r.User).latest(userKey{r.Host, r.User}, r.Channel)
		if v.Compare(r.Version) > 0 && v.Compare(h.Later) > 0 {
			h.Later = v
		}
		h.Ended = h.Ended || v == r.Version && ended
	}
	return h
}

// knows reports whether the book has a record of the kind, the user and the channel; for a wipe,
// any assignment or removal of the user.
func (b *Book) knows(r *Record) bool {
	s := b.shard(r.Host, r.User)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r.Kind != KindAssignment {
		_, known := s.values[valueKey{userKey{r.Host, r.User}, r.Kind}]
		return known
	}
	entries := s.users[userKey{r.Host, r.User}]
	if r.wipe() {
		return len(entries) > 0
	}
	_, known := find(entries, r.Channel)
	return known
}

// forgetUnsaved drops a record that waits to be stored, unless it is later than the version.
// storeMu is held.
func (b *Book) forgetUnsaved(n name, v Version) {
	if r, ok := b.unsaved[n]; ok && r.Version.Compare(v) <= 0 {
		delete(b.unsaved, n)
	}
}

// await makes applied records wait to be stored.
func (b *Book) await(fresh []applied) {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	b.failing = b.failing && len(b.unsaved) > 0
	for i := range fresh {
		r := &fresh[i]
		b.unsaved[nameOf(&r.Record)] = r.Record
		for _, e := range r.covered {
			b.forgetUnsaved(name{host: r.Host, user: r.User, channel: e.channel}, r.Version)
		}
	}
}

// Keep stores the records that [Book.Take] has applied. Calls that come during a write share the
// next one. After a failure, it only fails until [Book.Save] has succeeded, because storing all
// waiting records again at each change would cost more and more.
//
// It returns ErrUnavailable.
func (b *Book) Keep() error { return b.save(false) }

// Save stores the records that could not be stored before.
func (b *Book) Save() error { return b.save(true) }

// save stores the waiting records, unless the last attempt failed and this one is not to retry. The
// store is not waited for under storeMu, so that other changes share the write.
func (b *Book) save(retry bool) error {
	b.saving <- struct{}{}
	defer func() { <-b.saving }()
	records, store, err := b.waiting(retry)
	if len(records) == 0 {
		return err
	}
	err = store.Save(records)
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	if b.failing = err != nil; b.failing {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for i := range records {
		if n := nameOf(&records[i]); b.unsaved[n] == records[i] { // otherwise, a later one has come meanwhile
			delete(b.unsaved, n)
		}
	}
	return nil
}

// waiting returns the records to store, and the store.
func (b *Book) waiting(retry bool) ([]Record, Store, error) {
	b.storeMu.RLock()
	defer b.storeMu.RUnlock()
	switch {
	case len(b.unsaved) == 0:
		return nil, nil, nil
	case b.store == nil:
		return nil, nil, fmt.Errorf("%w: the store is not open", ErrUnavailable)
	case b.failing && !retry:
		return nil, nil, fmt.Errorf("%w: %d records wait", ErrUnavailable, len(b.unsaved))
	}
	return slices.Collect(maps.Values(b.unsaved)), b.store, nil
}

// Unsaved returns the number of records that could not be stored yet. Those of which the first
// attempt is under way are not among them.
func (b *Book) Unsaved() int {
	b.storeMu.RLock()
	defer b.storeMu.RUnlock()
	if b.store != nil && !b.failing {
		return 0
	}
	return len(b.unsaved)
}

// Sweep drops removals that are older than [Retention], records of other kinds that have ended, and
// those of hosts that are outside the scope for [OutsideRetention].
func (b *Book) Sweep() error {
	now := b.now()
	return errors.Join(b.discard(b.dropStale(now)), b.place(unixMilli(now), true))
}

// dropStale takes stale records out of memory, and returns them.
func (b *Book) dropStale(now time.Time) []Record {
	stale := make([]Record, 0, Shards)
	for i := range b.shards {
		stale = append(stale, b.shards[i].sweep(now)...)
	}
	b.uncount(stale)
	return stale
}

// uncount takes records that are no longer in memory out of the counts.
func (b *Book) uncount(gone []Record) {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	for i := range gone {
		r := &gone[i]
		if b.tally(r.Host, sumOf(r), -1); r.Kind != KindAssignment {
			b.values[r.Kind].add(r.Host, -1)
			continue
		}
		b.count(userKey{r.Host, r.User}, entry{channel: r.Channel, mode: r.Mode, blind: r.Blind}, -1)
	}
}

// discard deletes records that are no longer in memory from the store. Others can be stored between
// two batches of them.
func (b *Book) discard(stale []Record) error {
	if len(stale) == 0 {
		return nil
	}
	b.forgetDropped(stale)
	for some := range slices.Chunk(stale, rewriteBatch) {
		if err := b.deleteSome(some); err != nil {
			return fmt.Errorf("dropping removed assignments: %w", err)
		}
	}
	return nil
}

// forgetDropped drops records that are no longer in memory from those that wait to be stored.
func (b *Book) forgetDropped(stale []Record) {
	b.saving <- struct{}{} // a record that is being stored would be stored after it is dropped
	defer func() { <-b.saving }()
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	for i := range stale {
		r := &stale[i]
		if waiting, ok := b.unsaved[nameOf(r)]; ok && r.Kind != KindAssignment && sumOf(&waiting) != sumOf(r) {
			continue // merged meanwhile
		}
		b.forgetUnsaved(nameOf(r), r.Version)
	}
}

// deleteSome deletes records from the store, without those that have come back to memory.
func (b *Book) deleteSome(records []Record) error {
	b.saving <- struct{}{} // what comes back from now on is stored after it is deleted
	defer func() { <-b.saving }()
	b.storeMu.RLock()
	store := b.store
	b.storeMu.RUnlock()
	if store == nil {
		return nil // Attach drops them
	}
	return store.Delete(slices.DeleteFunc(slices.Clone(records), b.inMemory))
}

// inMemory reports whether the book has exactly this record.
func (b *Book) inMemory(r Record) bool {
	k := userKey{r.Host, r.User}
	switch {
	case r.Kind == kindLeft:
		b.countMu.Lock()
		defer b.countMu.Unlock()
		h := b.hosts[r.Host]
		return h != nil && h.left == r
	case r.Kind != KindAssignment:
		v, known := b.valueOf(r.Host, r.User, r.Kind)
		same := v.record(valueKey{k, r.Kind})
		return known && sumOf(&same) == sumOf(&r)
	}
	e, known := b.shard(r.Host, r.User).get(k, r.Channel)
	return known && sumOfEntry(k, e) == sumOf(&r)
}
