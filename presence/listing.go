package presence

import (
	"slices"
	"strings"
)

// Listing is one active channel, as backends receive it.
type Listing struct {
	Channel   string
	Kind      Kind
	CountOnly bool // an authenticated channel with Count instead of Users
	// Users has the users of an authenticated channel that is not CountOnly, and the user of a
	// private channel.
	Users []User
	// Count is 0 if there are Users. Otherwise it is the number of connections of an anonymous
	// channel, the number of users of a CountOnly channel, and 1 for a private channel.
	Count int
	// Seen has the times at which the e-mail addresses of Users were learned, see [Member]. Only
	// [Pods.Listing] and [Pods.Listings] set it.
	Seen []int64
	// Details has the times at which the info and the status of Users were set, see [Member]. It is
	// nil if nobody has any. Only [Pods.Listing] and [Pods.Listings] set it, and only [WithInfo].
	Details []DetailTimes
	// Userless is the number of connections that count as no user of an authenticated channel. Only
	// [Pods.Listing] and [Pods.Listings] set it, and the functions that merge them.
	Userless int
}

// DetailTimes has the times of a [Member] besides Seen, and Own.
type DetailTimes struct {
	Info, Status int64
	Own          bool
}

// Named reports whether the channel is authenticated and has Users instead of Count.
func (l *Listing) Named() bool { return l.Kind == Authenticated && !l.CountOnly }

// Per is the meaning of one entry of a listing, and what it has. The zero value is PerUser.
type Per uint8

// Meanings of an entry.
const (
	PerUser       Per = 0 // a user is one entry, even with several connections
	PerConnection Per = 1 // each connection with a user is one entry
	WithInfo      Per = 2 // added to one of the others: users have their info and status
)

// Raw reports whether each connection is one entry.
func (p Per) Raw() bool { return p&PerConnection != 0 }

// listed returns the user for a listing.
func (u *user) listed(per Per, at datedEmail) User {
	listed := User{ID: u.ID, Email: at.email}
	if per&WithInfo != 0 {
		u.extra.fill(&listed)
	}
	return listed
}

// learned returns the e-mail address with the time at which this pod has learned it.
func (u *user) learned() datedEmail { return datedEmail{u.Email, u.seen} }

// Channels lists the active channels of the host: first those with a name, sorted, then the private
// ones. Hidden channels are left out. per applies to counts too.
func (h *Host) Channels(per Per) []Listing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listings(per, (*channel).listing, (*Conn).listing)
}

// listings lists channels with a name by named, and private channels by private.
func (h *Host) listings(per Per, named func(*channel, Per) Listing, private func(*Conn, Per) Listing) []Listing {
	list := make([]Listing, 0, len(h.channels)+len(h.conns))
	for _, ch := range h.channels {
		if !ch.class.Hidden {
			list = append(list, named(ch, per))
		}
	}
	slices.SortFunc(list, func(a, b Listing) int { return strings.Compare(a.Channel, b.Channel) })
	for _, c := range h.conns {
		list = append(list, private(c, per))
	}
	return list
}

// ActiveChannels lists the active channels of the host that have a name, sorted, without users and
// counts. Hidden channels are left out.
func (h *Host) ActiveChannels() []Listing {
	list := make([]Listing, 0, h.Stats().Channels)
	h.mu.Lock()
	for _, ch := range h.channels {
		if !ch.class.Hidden {
			list = append(list, Listing{Channel: ch.name, Kind: ch.class.Kind, CountOnly: ch.countOnly()})
		}
	}
	h.mu.Unlock()
	slices.SortFunc(list, func(a, b Listing) int { return strings.Compare(a.Channel, b.Channel) })
	return list
}

// Channel lists one channel. It returns false if the channel is hidden or not active.
func (h *Host) Channel(name string, per Per) (Listing, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listing(name, per, (*channel).listing, (*Conn).listing)
}

// listing lists one channel, like listings.
func (h *Host) listing(name string, per Per, named func(*channel, Per) Listing, private func(*Conn, Per) Listing) (Listing, bool) {
	if isPrivate(name) {
		if id, ok := parsePrivate(name); ok {
			if c := h.byID[id]; c != nil {
				return private(c, per), true
			}
		}
		return Listing{}, false
	}
	ch := h.channels[name]
	if ch == nil || ch.class.Hidden {
		return Listing{}, false
	}
	return named(ch, per), true
}

func (ch *channel) listing(per Per) Listing {
	l := Listing{Channel: ch.name, Kind: ch.class.Kind, CountOnly: ch.countOnly()}
	switch {
	case ch.named() && per.Raw():
		l.Users = make([]User, 0, len(ch.listeners))
		for _, m := range ch.listeners {
			if u, at := ch.listed(m); u != nil {
				l.Users = append(l.Users, u.listed(per, at))
			}
		}
	case ch.named():
		l.Users = make([]User, 0, ch.users)
		for _, m := range ch.members {
			if m.conns > 0 {
				l.Users = append(l.Users, m.source().listed(per, m.address()))
			}
		}
	case per.Raw() || ch.class.Kind != Authenticated:
		l.Count = len(ch.listeners)
	default:
		l.Count = int(ch.users + ch.userless)
	}
	return l
}

// listed returns what a listing has of a listener, and the e-mail address; nil if it counts as no
// user.
func (ch *channel) listed(m *membership) (*user, datedEmail) {
	u := m.conn.user
	if ch.identified == 0 {
		if u == nil {
			return nil, datedEmail{}
		}
		return u, u.learned()
	}
	if u = m.conn.host.memberOf(m); u == nil {
		return nil, datedEmail{}
	}
	of := u.in(ch)
	return of.source(), of.address()
}

func (c *Conn) listing(per Per) Listing {
	l := Listing{Channel: c.id.PrivateChannel(), Kind: Private, Count: 1}
	if c.user != nil {
		l.Users, l.Count = []User{c.user.listed(per, c.user.learned())}, 0
	}
	return l
}

// Users returns the users of the host, and its numbers at the same moment. [PerConnection], a user
// has one entry for each connection. Users are in order of arrival, except that the last one fills
// the place of one that goes.
func (h *Host) Users(per Per) ([]User, Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if per.Raw() {
		users := make([]User, 0, h.loggedIn)
		for _, c := range h.conns {
			if c.user != nil {
				users = append(users, c.user.listed(per, c.user.learned()))
			}
		}
		return users, h.stats()
	}
	users := make([]User, len(h.online))
	for i, u := range h.online {
		users[i] = u.listed(per, u.learned())
	}
	return users, h.stats()
}
