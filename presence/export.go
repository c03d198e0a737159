package presence

import "slices"

// Members returns what [Host.Users] does, with the times of the e-mail addresses.
func (h *Host) Members(raw bool) ([]Member, Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if raw {
		members := make([]Member, 0, h.loggedIn)
		for _, c := range h.conns {
			if c.user != nil {
				members = append(members, Member{c.user.User, c.user.seen})
			}
		}
		return members, h.stats()
	}
	members := make([]Member, len(h.online))
	for i, u := range h.online {
		members[i] = Member{u.User, u.seen}
	}
	return members, h.stats()
}

// Shared lists the active channels, or the one channel if it is not "", to be merged with what other pods have, see
// [MergeListings]. Other than [Host.Channels] and [Host.Channel], it has the users of channels that are counted only, and
// the times of e-mail addresses.
func (h *Host) Shared(channelName string, raw bool) []Listing {
	h.mu.Lock()
	defer h.mu.Unlock()
	if channelName != "" {
		if l, ok := h.listing(channelName, raw, (*channel).shared, (*Conn).shared); ok {
			return []Listing{l}
		}
		return nil
	}
	return h.listings(raw, (*channel).shared, (*Conn).shared)
}

// shared is listing with all that merging takes.
func (ch *channel) shared(raw bool) Listing {
	l := ch.listing(raw)
	if l.Kind != Authenticated {
		return l
	}
	n := ch.users
	if raw {
		n = len(ch.listeners)
	}
	l.Users, l.Seen = make([]User, 0, n), make([]int64, 0, n)
	add := func(u *user) {
		l.Users = append(l.Users, u.User)
		l.Seen = append(l.Seen, u.seen)
	}
	if raw {
		for _, m := range ch.listeners {
			add(m.conn.user)
		}
		return l
	}
	for _, m := range ch.members {
		if m.refs > 0 {
			add(m.user)
		}
	}
	return l
}

func (c *Conn) shared() Listing {
	l := c.listing()
	if c.user != nil {
		l.Seen = []int64{c.user.seen}
	}
	return l
}

// ConnInfo is a connection of a user.
type ConnInfo struct {
	ID       ID
	User     User
	Channels []string // that it listens to, sorted; without the private one
	Out      Outbox
}

// Connections returns those of a user, the oldest first but for gaps that those who left leave to the last.
func (h *Host) Connections(userID string) []ConnInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []ConnInfo
	for _, c := range h.conns {
		if c.user == nil || c.user.ID != userID {
			continue
		}
		info := ConnInfo{ID: c.id, User: c.user.User, Channels: make([]string, len(c.memberships)), Out: c.out}
		for i, m := range c.memberships {
			info.Channels[i] = m.channel.name
		}
		slices.Sort(info.Channels)
		list = append(list, info)
	}
	return list
}
