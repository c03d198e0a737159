package presence

import (
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Shards is the number of parts into which the channels and the users of a host are divided for
// [Pods.Tap].
const Shards = 8

// ChannelShards is the number of parts into which the channels of a host are divided for deltas between
// pods. A shard of [Pods.Tap] is a group of them.
const ChannelShards = 64

// ChannelShardOf returns the part of a channel, from 0 to ChannelShards-1.
func ChannelShardOf(name string) uint8 { return uint8(xxhash.Sum64String(name) % ChannelShards) }

// ShardOf returns the shard of a channel or of a user's ID.
func ShardOf(name string) uint8 { return ChannelShardOf(name) / (ChannelShards / Shards) }

// Tap follows this pod's part of one shard of a host: its channels, and the users who are online. It
// begins with the whole part. While nobody pulls, it keeps the names of changed channels and users, in
// bounded memory, and not their changes. A user or a channel that comes and goes meanwhile is first
// reported as there, and as gone by the next pull.
//
// The lock of the host guards it, or the lock of the registry while the host has no connections.
type Tap struct {
	registry *Registry
	host     HostName
	shard    uint8
	users    bool   // follows the users who are online
	changed  func() // see Pods.Tap

	noted   bool // changed was called, or Pull has not been called yet
	first   bool // the next part is the first of the whole
	whole   bool // the whole part has been pulled
	entries map[string]*tapEntry
	order   []string // keys of entries, in order
	size    int      // approximate number of names in entries
}

// tapEntry has the changes of a channel since the last pull.
type tapEntry struct {
	full   bool               // the next change has the whole channel; users then has only users who left
	lost   bool               // the last connection that went was lost
	opened bool               // the channel has become active
	users  map[string]tapNote // users to report
	past   *TapChange         // what has come and gone again, reported first; nil for nothing
}

// tapNote is what has happened to a user since the last pull.
type tapNote uint8

const (
	tapLost tapNote = 1 << iota // the last connection was lost
	tapCame                     // the user was there
	tapPast                     // tapEntry.past has the user
)

// maxTapped limits the names that a Tap keeps. Beyond it, and beyond the number of active channels, it
// begins again with the whole part.
const maxTapped = 1 << 16

// TapPart has changes of the part that a [Tap] follows.
type TapPart struct {
	First   bool // the whole part begins: what the pod had before and does not name again until Whole is gone
	Whole   bool // the whole part has been named
	Changes []TapChange
}

// TapChange is the present state of a channel on this pod, or a past one. The channel "" has the users
// who are online.
type TapChange struct {
	Channel string
	Class   Class // Kind, Hidden and CountOnly; zero if the channel is not active
	Conns   int   // listeners; 0 if the channel is not active
	// Userless is how many of the listeners count as no user, in a channel of kind Authenticated.
	Userless int
	Lost     bool        // the last connection that went was lost
	Full     bool        // Came has all users of the channel: others are lost unless they are in Left
	More     bool        // of a Full change: another one of the same channel follows, and has more of it
	Came     []Member    // users who have a connection, without what is shown of them
	Left     []Departure // users who have none
}

// Tap follows a shard of a host, with the users who are online if users is set. changed is called when
// there is something to pull, once until the next call of [Tap.Pull]. It is called with locks held, so
// it must not block or call this package. The first Pull needs no call.
func (p Pods) Tap(host HostName, shard uint8, users bool, changed func()) *Tap {
	t := &Tap{registry: p.r, host: host, shard: shard, users: users, changed: changed, noted: true}
	p.r.mu.Lock()
	if p.r.taps == nil {
		p.r.taps = make(map[HostName][]*Tap)
	}
	p.r.taps[host] = append(p.r.taps[host], t)
	p.r.mu.Unlock()
	p.r.withHost(host, func(h *Host) {
		if h != nil && !slices.Contains(h.taps, t) {
			h.taps = append(h.taps, t)
		}
		t.restart(h)
	})
	return t
}

// Close ends the tap. It must not be pulled afterwards.
func (t *Tap) Close() {
	same := func(other *Tap) bool { return other == t }
	r := t.registry
	r.mu.Lock()
	if rest := slices.DeleteFunc(r.taps[t.host], same); len(rest) > 0 {
		r.taps[t.host] = rest
	} else {
		delete(r.taps, t.host)
	}
	r.mu.Unlock()
	r.withHost(t.host, func(h *Host) {
		if h == nil {
			return
		}
		if h.taps = slices.DeleteFunc(h.taps, same); len(h.taps) == 0 {
			h.taps = nil
		}
	})
}

// Pull returns the changes since the last call, about limit names of it, or more if a channel has
// more. It reports whether there is more.
func (t *Tap) Pull(limit int) (part TapPart, more bool) {
	t.registry.withHost(t.host, func(h *Host) {
		part.First, t.first = t.first, false
		var again []string
		for limit > 0 && len(t.order) > 0 {
			name := t.order[0]
			t.order = t.order[1:]
			e := t.entries[name]
			if past := e.past; past != nil {
				e.past = nil
				part.Changes = append(part.Changes, *past)
				again = append(again, name)
				limit -= 1 + len(past.Came)
				continue
			}
			delete(t.entries, name)
			t.size -= 1 + len(e.users)
			c := e.change(h, t, name)
			part.Changes = append(part.Changes, c)
			limit -= 1 + len(c.Came) + len(c.Left)
		}
		t.order = append(t.order, again...)
		more = len(t.order) > 0
		t.noted = more
		if !more {
			t.order = nil
			part.Whole, t.whole = !t.whole, true
		}
	})
	return part, more
}

// change returns the present state of the channel. h is nil if the host has no connections.
func (e *tapEntry) change(h *Host, t *Tap, name string) TapChange {
	c := TapChange{Channel: name, Lost: e.lost, Full: e.full}
	if h == nil {
		for id, note := range e.users {
			c.Left = append(c.Left, Departure{id, note&tapLost != 0})
		}
		return c
	}
	there := func(id string) (Member, bool) {
		if u := h.users[id]; u != nil && u.conns > 0 {
			return u.tapped(), true
		}
		return Member{}, false
	}
	if name == "" {
		c.Class.Kind = Authenticated
		for _, u := range h.online {
			if e.full && ShardOf(u.ID) == t.shard {
				c.Came = append(c.Came, u.tapped())
			}
		}
	} else if ch := h.channels[name]; ch != nil && len(ch.listeners) > 0 {
		c.Class, c.Conns, c.Userless = ch.tappedClass(), len(ch.listeners), ch.userlessMembers()
		if e.full {
			c.Came = make([]Member, 0, ch.users)
			for _, m := range ch.members {
				if m.conns > 0 {
					c.Came = append(c.Came, m.tapped())
				}
			}
		}
		there = func(id string) (Member, bool) {
			if m := h.users[id].in(ch); m != nil && m.conns > 0 {
				return m.tapped(), true
			}
			return Member{}, false
		}
	} else {
		there = func(string) (Member, bool) { return Member{}, false }
	}
	for id, note := range e.users {
		switch u, ok := there(id); {
		case !ok:
			c.Left = append(c.Left, Departure{id, note&tapLost != 0})
		case !e.full:
			c.Came = append(c.Came, u)
		}
	}
	return c
}

// tappedClass returns the class of the channel as a Tap reports it.
func (ch *channel) tappedClass() Class {
	return Class{Kind: ch.class.Kind, Hidden: ch.class.Hidden, CountOnly: ch.class.CountOnly}
}

// tapped returns a user who is online as a Tap reports it.
func (u *user) tapped() Member {
	m := Member{User: User{ID: u.ID, Email: u.Email}, Seen: u.seen}
	if u.extra != nil {
		m.Info, m.InfoTime = u.extra.info, u.extra.infoTime
	}
	return m
}

// tapped returns the member as a Tap reports it.
func (m *member) tapped() Member {
	d := m.delta()
	return Member{User: User{ID: d.ID, Email: d.Email, Info: d.Info}, Seen: d.Seen, InfoTime: d.InfoTime, Own: d.Own}
}

// restart makes the tap begin again with the whole part. h is nil if the host has no connections.
func (t *Tap) restart(h *Host) {
	t.first, t.whole, t.entries, t.order, t.size = true, false, make(map[string]*tapEntry), nil, 0
	if h == nil {
		return
	}
	if t.users {
		t.add("").full = true
	}
	for name, ch := range h.channels {
		if ShardOf(name) == t.shard && len(ch.listeners) > 0 {
			t.add(name).full = true
		}
	}
}

func (t *Tap) add(name string) *tapEntry {
	e := new(tapEntry)
	t.entries[name] = e
	t.order = append(t.order, name)
	t.size++
	return e
}

// entry returns the entry of a channel that has changed.
func (t *Tap) entry(h *Host, name string) *tapEntry {
	e := t.entries[name]
	if e == nil {
		if t.size >= max(maxTapped, 2*len(h.channels)) {
			t.restart(h)
		}
		if e = t.entries[name]; e == nil {
			e = t.add(name)
		}
	}
	if !t.noted {
		t.noted = true
		t.changed()
	}
	return e
}

// noteUser records that a user has come, gone or changed in a channel that has that many members. It
// returns the entry if the user has come and gone since the last pull, and the entry does not have it.
func (t *Tap) noteUser(h *Host, channel, user string, there, lost bool, members int) (past *tapEntry) {
	e := t.entry(h, channel)
	note, known := e.users[user]
	if there {
		note = note&^tapLost | tapCame
	} else {
		if note&(tapCame|tapPast) == tapCame {
			note, past = note|tapPast, e
		}
		if note &^= tapLost | tapCame; lost {
			note |= tapLost
		}
	}
	switch {
	case e.full && there:
		if known {
			t.size--
			delete(e.users, user)
		}
	case known:
		e.users[user] = note
	case len(e.users) >= max(maxChanges, members):
		t.size -= len(e.users)
		// Users recorded before are missing in it, so they count as lost. Those of past would no longer
		// count in size.
		e.full, e.users, e.past = true, nil, nil
	default:
		if e.users == nil {
			e.users = make(map[string]tapNote)
		}
		e.users[user] = note
		t.size++
	}
	return past
}

// pastOf returns the past state of a channel; nil stands for the users who are online.
func (e *tapEntry) pastOf(ch *channel) *TapChange {
	if e.past == nil {
		e.past = &TapChange{Class: Class{Kind: Authenticated}}
	}
	if ch != nil {
		e.past.Channel, e.past.Class = ch.name, ch.tappedClass()
		e.past.Conns, e.past.Userless = max(e.past.Conns, len(ch.listeners)), ch.userlessMembers()
	}
	return e.past
}

// tapChannel records that a channel has one listener more, or one less.
func (h *Host) tapChannel(ch *channel, more, lost bool) {
	if h.taps == nil {
		return
	}
	h.eachTap(ch.name, func(t *Tap) {
		e := t.entry(h, ch.name)
		e.lost = lost
		switch len(ch.listeners) {
		case 0:
			if e.opened {
				past := e.pastOf(ch)
				past.Conns = max(past.Conns, 1)
			}
		case 1:
			e.opened = e.opened || more
		}
	})
}

// tapClass records that the class of a channel has changed.
func (h *Host) tapClass(ch *channel) {
	if h.taps == nil {
		return
	}
	h.eachTap(ch.name, func(t *Tap) { t.entry(h, ch.name).full = true })
}

// tapMember records that a user has come, gone or changed in a channel.
func (h *Host) tapMember(m *member, lost bool) {
	if h.taps == nil {
		return
	}
	ch := m.channel
	h.eachTap(ch.name, func(t *Tap) {
		if e := t.noteUser(h, ch.name, m.user.ID, m.conns > 0, lost, len(ch.members)); e != nil {
			past := e.pastOf(ch)
			past.Came = append(past.Came, m.tapped())
		}
	})
}

// tapUser records that a user has come online, gone or changed.
func (h *Host) tapUser(u *user, lost bool) {
	if h.taps == nil {
		return
	}
	h.eachTap(u.ID, func(t *Tap) {
		if t.users {
			if e := t.noteUser(h, "", u.ID, u.conns > 0, lost, len(h.online)); e != nil {
				past := e.pastOf(nil)
				past.Came = append(past.Came, u.tapped())
			}
		}
	})
}

// eachTap calls f for the taps of the shard of a name.
func (h *Host) eachTap(name string, f func(t *Tap)) {
	shard := ShardOf(name)
	for _, t := range h.taps {
		if t.shard == shard {
			f(t)
		}
	}
}

// OnOpened sets the function that is called when a host has its first connection on this pod, with
// the lock of the registry held: it must not block or call this package. It must be called before the
// first connection.
func (p Pods) OnOpened(opened func(host HostName)) { p.r.opened = opened }

// Hosts returns the names of the hosts that have connections on this pod, in no order.
func (p Pods) Hosts() []HostName {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return slices.Collect(maps.Keys(p.r.hosts))
}

// tapKnown records that this pod knows something else of a user.
func (h *Host) tapKnown(u *user) {
	if h.taps == nil || u.conns == 0 {
		return
	}
	h.tapUser(u, false)
	for _, m := range u.members.all() {
		if m.conns > 0 {
			h.tapMember(m, false)
		}
	}
}
