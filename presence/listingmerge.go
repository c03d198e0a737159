package presence

import (
	"slices"
	"strings"
)

// Members returns the result of [Host.Users] for the named host, with the times of the e-mail
// addresses. It returns nothing if the host has no connections.
func (p Pods) Members(host HostName, per Per) ([]Member, Stats) {
	h := p.r.Host(host)
	if h == nil {
		return nil, Stats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if per == PerConnection {
		members := make([]Member, 0, h.loggedIn)
		for _, c := range h.conns {
			if c.user != nil {
				members = append(members, c.user.member())
			}
		}
		return members, h.stats()
	}
	members := make([]Member, len(h.online))
	for i, u := range h.online {
		members[i] = u.member()
	}
	return members, h.stats()
}

// Listings lists the active channels of the named host for [MergeListings]. Unlike [Host.Channels],
// it includes the users of CountOnly channels and the times of e-mail addresses.
func (p Pods) Listings(host HostName, per Per) []Listing {
	h := p.r.Host(host)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listings(per, (*channel).mergeable, (*Conn).mergeable)
}

// Listing lists one channel like [Pods.Listings]. It returns false if the channel is hidden or not
// active.
func (p Pods) Listing(host HostName, name string, per Per) (Listing, bool) {
	h := p.r.Host(host)
	if h == nil {
		return Listing{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listing(name, per, (*channel).mergeable, (*Conn).mergeable)
}

// mergeable returns the listing of the channel with all that [MergeListings] needs.
func (ch *channel) mergeable(per Per) Listing {
	l := ch.listing(per)
	if l.Kind != Authenticated {
		return l
	}
	n := ch.users
	if per == PerConnection {
		n = len(ch.listeners)
	}
	l.Users, l.Seen = make([]User, 0, n), make([]int64, 0, n)
	add := func(u *user) {
		l.Users = append(l.Users, u.known())
		l.Seen = append(l.Seen, u.seen)
	}
	if per == PerConnection {
		for _, m := range ch.listeners {
			add(m.conn.user)
		}
		return l
	}
	for _, m := range ch.members {
		if m.conns > 0 {
			add(m.user)
		}
	}
	return l
}

func (c *Conn) mergeable() Listing {
	l := c.listing()
	if c.user != nil {
		l.Seen = []int64{c.user.seen}
	}
	return l
}

// MergeListings merges results of [Pods.Listings], of one or several pods, into one listing in the
// order of [Host.Channels]. Users are merged by ID and have the e-mail address that was learned
// last; with [PerConnection], each connection remains an entry. Counts of anonymous channels are
// added up.
//
// If pods disagree about the class of a channel, the stricter class applies: authenticated over
// anonymous, CountOnly over listed users.
func MergeListings(per Per, parts ...[]Listing) []Listing {
	var named, private []*mergedListing
	channels := make(map[string]*mergedListing)
	for _, part := range parts {
		for _, l := range part {
			m := channels[l.Channel]
			switch {
			case m != nil:
				m.add(l)
				continue
			case l.Kind == Private:
				m = &mergedListing{Listing: l}
				private = append(private, m)
			default:
				m = &mergedListing{Listing: l}
				named = append(named, m)
			}
			channels[l.Channel] = m
		}
	}
	slices.SortFunc(named, func(a, b *mergedListing) int { return strings.Compare(a.Channel, b.Channel) })
	list := make([]Listing, 0, len(channels))
	for _, m := range append(named, private...) {
		list = append(list, m.finish(per))
	}
	return list
}

// mergedListing is a listing of a channel that more pods may have.
type mergedListing struct {
	Listing // the first one, with the class and the count of all
	more    []Listing
}

func (m *mergedListing) add(l Listing) {
	switch {
	case m.Kind == Private || l.Kind == Private: // a connection is on one pod
		return
	case l.Kind == Authenticated && m.Kind != Authenticated:
		*m = mergedListing{Listing: Listing{Channel: l.Channel, Kind: Authenticated}}
	case l.Kind != Authenticated && m.Kind == Authenticated:
		return
	}
	m.CountOnly = m.CountOnly || l.CountOnly
	m.Count += l.Count
	m.more = append(m.more, l)
}

func (m *mergedListing) finish(per Per) Listing {
	l := m.Listing
	l.Seen = nil
	if l.Kind != Authenticated {
		return l
	}
	if len(m.more) > 0 {
		members := appendMembers(nil, m.Listing)
		for _, other := range m.more {
			members = appendMembers(members, other)
		}
		l.Users = mergeUsers(members, per)
	}
	l.Count = 0
	if l.CountOnly {
		l.Count, l.Users = len(l.Users), nil
	} else if l.Users == nil {
		l.Users = []User{}
	}
	return l
}

// appendMembers appends the users of a listing with the times of their addresses.
func appendMembers(members []Member, l Listing) []Member {
	for i, u := range l.Users {
		m := Member{User: u}
		if i < len(l.Seen) {
			m.Seen = l.Seen[i]
		}
		members = append(members, m)
	}
	return members
}

// mergeUsers gives each user the address that was learned last. With [PerUser], each user has one
// entry.
func mergeUsers(members []Member, per Per) []User {
	users := make([]User, 0, len(members))
	known := make(map[string]datedEmail, len(members))
	for _, m := range members {
		best, twice := known[m.ID]
		if address := (datedEmail{m.Email, m.Seen}); !twice || address.newer(best) {
			known[m.ID] = address
		}
		if per == PerConnection || !twice {
			users = append(users, m.User)
		}
	}
	for i := range users {
		users[i].Email = known[users[i].ID].email
	}
	return users
}

// MergeMembers merges results of [Pods.Members] into one list, sorted by ID. Users are merged as by
// [MergeListings].
func MergeMembers(per Per, parts ...[]Member) []User {
	all := slices.Concat(parts...)
	slices.SortFunc(all, func(a, b Member) int {
		if order := strings.Compare(a.ID, b.ID); order != 0 {
			return order
		}
		switch x, y := (datedEmail{a.Email, a.Seen}), (datedEmail{b.Email, b.Seen}); {
		case x.newer(y):
			return -1
		case y.newer(x):
			return 1
		}
		return 0
	})
	users := make([]User, 0, len(all))
	for i, m := range all {
		switch last := len(users) - 1; {
		case i == 0 || m.ID != all[i-1].ID:
			users = append(users, m.User)
		case per == PerConnection:
			users = append(users, users[last])
		}
	}
	return users
}
