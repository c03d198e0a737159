package assignment

import (
	"fmt"
	"slices"
)

// Merge applies the records of another pod that are later than those in the book, and stores them.
// If storing fails, they apply nevertheless: they wait, with all later ones, until [Book.Save]
// succeeds.
//
// It returns ErrUnavailable, or ErrTooMany if there was no room for some records.
func (b *Book) Merge(records []Record) error {
	now := b.now()
	records = slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		return !r.valid() || r.stale(now) && !b.knows(&r) // a stale removal still removes an assignment, and is dropped later
	})
	fresh, all := b.apply(records, true)
	b.notify(fresh)
	if len(fresh) > 0 {
		if err := b.keep(fresh); err != nil {
			return err
		}
	}
	if !all {
		return ErrTooMany
	}
	return nil
}

// knows reports whether the book has a record of the user and the channel.
func (b *Book) knows(r *Record) bool {
	_, known := b.shard(r.Host, r.User).get(userKey{r.Host, r.User}, r.Channel)
	return known
}

// Save stores the records that could not be stored before.
func (b *Book) Save() error {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	return b.saveLocked()
}

func (b *Book) keep(fresh []Record) error {
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	failing := len(b.unsaved) > 0
	for i := range fresh {
		b.unsaved[nameOf(&fresh[i])] = fresh[i]
	}
	if failing { // storing all waiting records again at each change would cost more and more
		return fmt.Errorf("%w: %d other records wait", ErrUnavailable, len(b.unsaved)-len(fresh))
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

// Sweep drops removals that are older than [Retention].
func (b *Book) Sweep() error {
	now := b.now()
	stale := make([]Record, 0, Shards)
	for i := range b.shards {
		stale = append(stale, b.shards[i].sweep(now)...)
	}
	b.countMu.Lock()
	for i := range stale {
		b.count(stale[i].Host, -1)
	}
	b.countMu.Unlock()
	b.storeMu.Lock()
	defer b.storeMu.Unlock()
	for i := range stale {
		delete(b.unsaved, nameOf(&stale[i]))
	}
	if len(stale) == 0 || b.store == nil {
		return nil // Attach drops them
	}
	if err := b.store.Delete(stale); err != nil {
		return fmt.Errorf("dropping removed assignments: %w", err)
	}
	return nil
}
