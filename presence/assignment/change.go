package assignment

import (
	"fmt"
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Wish has the channels of one user in a request.
type Wish struct {
	User     string
	Channels []Assignment
}

// Assign adds assignments, or changes their modes, and returns the records for other pods. A user
// may have at most perUser channels; 0: no limit. Repeating a request is not an error. Concurrent
// requests can exceed a limit together.
//
// It returns ErrTooManyChannels, ErrTooMany or ErrUnavailable. If it returns an error, it has
// changed nothing.
func (b *Book) Assign(host presence.HostName, wishes []Wish, perUser int) ([]Record, error) {
	var records []Record
	fresh := 0
	for user, channels := range mergeWishes(wishes) {
		more := 0
		for channel, mode := range channels {
			records = append(records, Record{Host: host, User: user, Channel: channel, Mode: mode})
			e, known := b.shard(host, user).get(userKey{host, user}, channel)
			if !known || e.blind {
				fresh++
			}
			if e.mode == None {
				more++
			}
		}
		if perUser > 0 && more > 0 && len(b.Of(host, user))+more > perUser {
			return nil, fmt.Errorf("%w: the limit is %d", ErrTooManyChannels, perUser)
		}
	}
	if fresh > 0 && !b.room(&Record{Host: host}, fresh) {
		return nil, fmt.Errorf("%w: the limit is %d, including recent removals", ErrTooMany, MaxOfHost)
	}
	if _, err := b.write(records); err != nil {
		return nil, err
	}
	return records, nil
}

// mergeWishes merges the wishes of each user. The last mode of a channel applies.
func mergeWishes(wishes []Wish) map[string]map[string]Mode {
	users := make(map[string]map[string]Mode, len(wishes))
	for _, w := range wishes {
		channels := users[w.User]
		if channels == nil {
			channels = make(map[string]Mode, len(w.Channels))
			users[w.User] = channels
		}
		for _, a := range w.Channels {
			channels[a.Channel] = a.Mode
		}
	}
	return users
}

// Remove removes assignments, and returns the records for other pods. If the Channels of a wish are
// nil, it removes all assignments of the user. Removing an assignment that does not exist is not an
// error, and has a record too, because another pod may have the assignment. A name that no channel
// can have has none.
//
// If there is no room for such a record ([MaxBlindOfHost]), it is returned but not stored, and kept
// is false.
//
// It returns ErrUnavailable, and then it has changed nothing.
func (b *Book) Remove(host presence.HostName, wishes []Wish) (records []Record, kept bool, err error) {
	seen := make(map[name]bool)
	remove := func(user, channel string) {
		n := name{host: host, user: user, channel: channel}
		if !seen[n] {
			seen[n] = true
			records = append(records, Record{Host: host, User: user, Channel: channel, Blind: !b.has(n)})
		}
	}
	for _, w := range wishes {
		if w.Channels == nil {
			remove(w.User, "")
		}
		for _, a := range w.Channels {
			if presence.CheckChannel(a.Channel) == nil { // an empty name would be a wipe
				remove(w.User, a.Channel)
			}
		}
	}
	kept, err = b.write(records)
	if err != nil {
		return nil, false, err
	}
	return records, kept, nil
}

// has reports whether the book has a record that is not a blind removal.
func (b *Book) has(n name) bool {
	s := b.shard(n.host, n.user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := s.users[userKey{n.host, n.user}]
	if n.channel == "" {
		return slices.ContainsFunc(entries, func(e entry) bool { return !e.blind || e.ended })
	}
	if i, ok := find(entries, n.channel); ok {
		return !entries[i].blind || entries[i].ended
	}
	w, ok := wipeOf(entries)
	return ok && w.ended
}

// Again makes the changes of records again, with versions above later, the version of another pod.
// If ended is set, removals are no longer blind. It returns the results of [Book.Remove].
func (b *Book) Again(records []Record, later Version, ended bool) (kept bool, err error) {
	b.advanceClock(later)
	for i := range records {
		records[i].Blind = records[i].Blind && !ended
	}
	return b.write(records)
}

// write gives the records versions, stores and then applies them. kept is false if there was no
// room for some blind removals.
func (b *Book) write(records []Record) (kept bool, err error) {
	if len(records) == 0 {
		return true, nil
	}
	b.storeMu.RLock()
	store := b.store
	b.storeMu.RUnlock()
	if store == nil {
		return false, fmt.Errorf("%w: the store is not open", ErrUnavailable)
	}
	if err := b.stamp(records); err != nil {
		return false, err
	}
	for i := range records {
		records[i].Local = b.local(&records[i])
	}
	fits := b.fitting(records)
	if err := store.Save(fits); err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	fresh, _ := b.apply(fits, false)
	for i := range fresh {
		if r := &fresh[i]; r.Kind == KindEpoch {
			r.raised, r.tie = false, false // the caller knows
		}
	}
	b.placeNew(fresh)
	b.notify(fresh)
	if len(fits) < len(records) {
		b.notifyRemoved(records) // also those without room
	}
	return len(fits) == len(records), nil
}

// fitting returns the records without the blind removals for which there is no room.
func (b *Book) fitting(records []Record) []Record {
	fits := make([]Record, 0, len(records))
	blind := 0
	for i := range records {
		r := &records[i]
		if r.Blind && !b.knows(r) {
			if !b.room(r, blind+1) {
				continue
			}
			blind++
		}
		fits = append(fits, *r)
	}
	return fits
}

// stamp gives the records a version that is later than all versions so far.
func (b *Book) stamp(records []Record) error {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	next := max(b.clock+1, b.Time()<<clockBits)
	if next > MaxClock {
		return fmt.Errorf("%w: the clock of another pod is at its maximum", ErrUnavailable)
	}
	b.clock = next
	for i := range records {
		records[i].Version = Version{b.clock, b.node}
	}
	return nil
}

// advanceClock makes later versions follow v.
func (b *Book) advanceClock(v Version) {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	b.clock = max(b.clock, v.Clock)
}
