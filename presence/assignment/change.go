package assignment

import (
	"fmt"

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
			if !known {
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
	if fresh > 0 && !b.room(host, fresh) {
		return nil, fmt.Errorf("%w: the limit is %d, including recent removals", ErrTooMany, MaxOfHost)
	}
	if err := b.write(records); err != nil {
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
// error.
//
// It returns ErrUnavailable, and then it has changed nothing.
func (b *Book) Remove(host presence.HostName, wishes []Wish) ([]Record, error) {
	gone := make(map[name]bool)
	var records []Record
	remove := func(user, channel string) {
		n := name{host, user, channel}
		if !gone[n] && b.Mode(host, user, channel) != None {
			gone[n] = true
			records = append(records, Record{Host: host, User: user, Channel: channel})
		}
	}
	for _, w := range wishes {
		if w.Channels == nil {
			for _, a := range b.Of(host, w.User) {
				remove(w.User, a.Channel)
			}
		}
		for _, a := range w.Channels {
			remove(w.User, a.Channel)
		}
	}
	if err := b.write(records); err != nil {
		return nil, err
	}
	return records, nil
}

// write gives the records versions, stores and then applies them.
func (b *Book) write(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	b.storeMu.RLock()
	store := b.store
	b.storeMu.RUnlock()
	if store == nil {
		return fmt.Errorf("%w: the store is not open", ErrUnavailable)
	}
	if err := b.stamp(records); err != nil {
		return err
	}
	if err := store.Save(records); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	fresh, _ := b.apply(records, false) // room was checked before
	b.notify(fresh)
	return nil
}

// stamp gives the records a version that is later than all versions so far.
func (b *Book) stamp(records []Record) error {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	next := max(b.clock+1, uint64(b.now().UnixMilli())<<clockBits)
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
