package assignment

import (
	"fmt"
	"slices"
)

// Held compares a book with the records of a merge.
type Held struct {
	// Later is the latest version in the book that is later than a record's for the same channel;
	// zero if there is none.
	Later Version
	// Ended is set if a blind removal has removed something.
	Ended bool
}

// Merge applies the records of another pod that are later than those in the book. If they cannot be
// stored, [Book.Save] retries, and records that come until then wait for that too, also the same ones
// again.
//
// It returns ErrUnavailable, or ErrTooMany if there is no room for some records.
func (b *Book) Merge(records []Record) (Held, error) {
	now := b.now()
	given := records
	records = slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		// A stale removal still removes an assignment, and is dropped later.
		return !r.Valid() || r.stale(now) && (r.Kind != KindAssignment || !b.knows(&r))
	})
	for i := range records {
		records[i].Local = 0 // that of another pod
	}
	fresh, all := b.apply(records, true)
	b.notify(fresh)
	if !all {
		b.notifyRemoved(records) // also those without room
	}
	held := b.held(given)
	if err := b.keep(fresh); err != nil {
		return held, err
	}
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

// knows reports whether the book has a record of the kind, the user and the channel; for a wipe, any
// assignment or removal of the user.
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

// forgetUnsaved drops a record that waits to be stored, unless it is later than the version. storeMu
// is held.
func (b *Book) forgetUnsaved(n name, v Version) {
	if r, ok := b.unsaved[n]; ok && r.Version.Compare(v) <= 0 {
		delete(b.unsaved, n)
	}
}

// Save stores the records that could not be stored before.
func (b *Book) Save() error {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	return b.saveLocked()
}

// keep stores applied records, or keeps them for Save.
func (b *Book) keep(fresh []applied) error {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	failing := len(b.unsaved) > 0
	for i := range fresh {
		r := &fresh[i]
		b.unsaved[nameOf(&r.Record)] = r.Record
		for _, e := range r.covered {
			b.forgetUnsaved(name{host: r.Host, user: r.User, channel: e.channel}, r.Version)
		}
	}
	if failing { // storing all waiting records again at each change would cost more and more
		return fmt.Errorf("%w: %d records wait", ErrUnavailable, len(b.unsaved))
	}
	return b.saveLocked()
}

// saveLocked is Save with storeMu held.
func (b *Book) saveLocked() error {
	if len(b.unsaved) == 0 {
		return nil
	}
	if b.store == nil {
		return fmt.Errorf("%w: the store is not open", ErrUnavailable)
	}
	records := make([]Record, 0, len(b.unsaved))
	for _, r := range b.unsaved {
		records = append(records, r)
	}
	if err := b.store.Save(records); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	clear(b.unsaved)
	return nil
}

// Unsaved returns the number of records that are not stored yet.
func (b *Book) Unsaved() int {
	b.storeMu.RLock()
	defer b.storeMu.RUnlock()
	return len(b.unsaved)
}

// Sweep drops removals that are older than [Retention], and records of other kinds that have ended.
func (b *Book) Sweep() error {
	now := b.now()
	stale := make([]Record, 0, Shards)
	for i := range b.shards {
		stale = append(stale, b.shards[i].sweep(now)...)
	}
	b.countMu.Lock()
	for i := range stale {
		r := &stale[i]
		if r.Kind != KindAssignment {
			b.values[r.Kind].add(r.Host, -1)
			continue
		}
		b.count(userKey{r.Host, r.User}, entry{channel: r.Channel, mode: r.Mode, blind: r.Blind}, -1)
	}
	b.countMu.Unlock()
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	for i := range stale {
		r := &stale[i]
		if waiting, ok := b.unsaved[nameOf(r)]; ok && r.Kind != KindAssignment && sumOf(&waiting) != sumOf(r) {
			continue // merged meanwhile
		}
		b.forgetUnsaved(nameOf(r), r.Version)
	}
	if len(stale) == 0 || b.store == nil {
		return nil // Attach drops them
	}
	if err := b.store.Delete(stale); err != nil {
		return fmt.Errorf("dropping removed assignments: %w", err)
	}
	return nil
}
