package assignment

import (
	"errors"
	"fmt"
	"slices"
)

// Merge takes over records of another pod, those that are later than what the book has. They hold at once. If they cannot be
// kept, [Book.Save] tries them again, and what comes until then waits for that too.
//
// It returns ErrUnavailable, or ErrTooMany if there is no room for some of them.
func (b *Book) Merge(records []Record) error {
	now := b.now()
	records = slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		return !r.valid() || r.stale(now) && !b.knows(&r) // a late removal still ends what is there, and is forgotten then
	})
	fresh, all := b.apply(records, true)
	b.tell(fresh)
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

// knows reports whether the book has anything of the user and the channel.
func (b *Book) knows(r *Record) bool {
	_, known := b.shard(r.Host, r.User).get(userKey{r.Host, r.User}, r.Channel)
	return known
}

// Save keeps what could not be kept before.
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
	if failing { // trying all that waits with each change would cost ever more
		return fmt.Errorf("%w: %d others wait", ErrUnavailable, len(b.unsaved)-len(fresh))
	}
	return b.saveLocked()
}

// saveLocked is Save with storeMu held, so that others that keep records of other pods wait their turn.
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

// Unsaved returns how many records of other pods are not kept yet.
func (b *Book) Unsaved() int {
	b.storeMu.RLock()
	defer b.storeMu.RUnlock()
	return len(b.unsaved)
}

// Sweep forgets removals that are older than [Retention].
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
		return nil // Attach leaves them out
	}
	if err := b.store.Delete(stale); err != nil {
		return errors.Join(errors.New("forgetting removed assignments"), err)
	}
	return nil
}
