package assignment

import (
	"fmt"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Wish is what is to be done about a user.
type Wish struct {
	User     string
	Channels []Assignment
}

// Assign adds assignments or changes their mode, and returns the records of it, to be told to other pods. No user gets more
// than perUser channels in all; 0 is no bound. Repeating a request is not an error. Requests at the same time can go over a
// bound together.
//
// It returns ErrTooManyChannels, ErrTooMany or ErrUnavailable, and then nothing of it was done.
func (b *Book) Assign(host presence.HostName, wishes []Wish, perUser int) ([]Record, error) {
	var records []Record
	fresh := 0
	for user, channels := range merge(wishes) {
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

// merge brings wishes for one user together; the last word on a channel holds.
func merge(wishes []Wish) map[string]map[string]Mode {
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

// Remove ends assignments, all of a user's where a wish names no channel, and returns the records of it. What is not
// assigned is left alone.
//
// It returns ErrUnavailable, and then nothing of it was done.
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

// write gives the records their versions, and takes them over when they are kept.
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
	fresh, _ := b.apply(records, false) // there was room when that was looked at
	b.tell(fresh)
	return nil
}

// stamp gives the records versions that are later than all that were seen.
func (b *Book) stamp(records []Record) error {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	next := max(b.clock+1, uint64(b.now().UnixMilli())<<clockBits)
	if next > MaxClock {
		return fmt.Errorf("%w: no version is later than one that another pod has sent", ErrUnavailable)
	}
	b.clock = next
	for i := range records {
		records[i].Version = Version{b.clock, b.node}
	}
	return nil
}

// see takes note of a version, so that those to come are later.
func (b *Book) see(v Version) {
	b.clockMu.Lock()
	defer b.clockMu.Unlock()
	b.clock = max(b.clock, v.Clock)
}
