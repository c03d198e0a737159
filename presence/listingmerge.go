package presence

import (
	"iter"
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
	if per.Raw() {
		members := make([]Member, 0, h.loggedIn)
		for _, c := range h.conns {
			if c.user != nil {
				members = append(members, c.user.listedMember(per))
			}
		}
		return members, h.stats()
	}
	members := make([]Member, len(h.online))
	for i, u := range h.online {
		members[i] = u.listedMember(per)
	}
	return members, h.stats()
}

// UserIDs returns the IDs of the users that have a connection on the named host, each once, in no
// order, and the numbers of the host at the same moment. They are those of the time of the call,
// whenever they are read.
func (p Pods) UserIDs(host HostName) (iter.Seq[string], Stats) {
	h := p.r.Host(host)
	if h == nil {
		return func(func(string) bool) {}, Stats{}
	}
	h.mu.Lock()
	online, stats := slices.Clone(h.online), h.stats()
	h.mu.Unlock()
	return func(yield func(string) bool) {
		for _, u := range online {
			if !yield(u.ID) { // an ID never changes, so this needs no lock
				return
			}
		}
	}, stats
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

// listedMember returns the user for a listing, with the times of what it has.
func (u *user) listedMember(per Per) Member {
	times := u.details(per)
	return Member{User: u.listed(per, u.learned()), Seen: u.seen, InfoTime: times.Info, StatusTime: times.Status}
}

// details returns the times of what a listing has of the user besides the address.
func (u *user) details(per Per) DetailTimes {
	if per&WithInfo == 0 || u.extra == nil {
		return DetailTimes{}
	}
	return DetailTimes{u.extra.infoTime, u.extra.statusTime, u.extra.own}
}

// mergeable returns the listing of the channel with all that [MergeListings] needs.
func (ch *channel) mergeable(per Per) Listing {
	l := ch.listing(per)
	if l.Kind != Authenticated {
		return l
	}
	n := int(ch.users)
	if per.Raw() {
		n = len(ch.listeners)
	}
	l.Users, l.Seen, l.Userless = make([]User, 0, n), make([]int64, 0, n), int(ch.userless)
	if per.Raw() {
		for _, m := range ch.listeners {
			if u, at := ch.listed(m); u != nil {
				l.add(u, at, per)
			}
		}
		return l
	}
	for _, m := range ch.members {
		if m.conns > 0 {
			l.add(m.source(), m.address(), per)
		}
	}
	return l
}

// add adds a user with its times.
func (l *Listing) add(u *user, at datedEmail, per Per) {
	times := u.details(per)
	if times != (DetailTimes{}) && l.Details == nil {
		l.Details = make([]DetailTimes, len(l.Users), cap(l.Users))
	}
	l.Users = append(l.Users, u.listed(per, at))
	l.Seen = append(l.Seen, at.seen)
	if l.Details != nil {
		l.Details = append(l.Details, times)
	}
}

func (c *Conn) mergeable(per Per) Listing {
	l := c.listing(per)
	if c.user != nil {
		l.Users = nil
		l.add(c.user, c.user.learned(), per)
	}
	return l
}

// MergeListings merges results of [Pods.Listings], of one or several pods, into one listing in the
// order of [Host.Channels]. Users are merged by ID and have the e-mail address, the info and the
// status that were learned last; with [PerConnection], each connection remains an entry. Counts of
// anonymous channels are added up.
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
	m.Userless += l.Userless
	m.more = append(m.more, l)
}

func (m *mergedListing) finish(per Per) Listing {
	l := m.Listing
	l.Seen, l.Details = nil, nil
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
		l.Count, l.Users = len(l.Users)+l.Userless, nil
	} else if l.Users == nil {
		l.Users = []User{}
	}
	return l
}

// appendMembers appends the users of a listing with their times.
func appendMembers(members []Member, l Listing) []Member {
	for i, u := range l.Users {
		m := Member{User: u}
		if i < len(l.Seen) {
			m.Seen = l.Seen[i]
		}
		if i < len(l.Details) {
			m.InfoTime, m.StatusTime, m.Own = l.Details[i].Info, l.Details[i].Status, l.Details[i].Own
		}
		members = append(members, m)
	}
	return members
}

// mergeUsers gives each user what was learned of it last. With [PerUser], each user has one entry.
func mergeUsers(members []Member, per Per) []User {
	users := make([]User, 0, len(members))
	known := make(map[string]datedEmail, len(members))
	var extras map[string]*extra // nil if nobody has any
	for i := range members {
		m := &members[i]
		best, twice := known[m.ID]
		if address := (datedEmail{m.Email, m.Seen}); !twice || address.newer(best) {
			known[m.ID] = address
		}
		if e := m.extra(); e != nil {
			if extras == nil {
				extras = make(map[string]*extra)
			}
			extras[m.ID] = extras[m.ID].newest(e)
		}
		if per.Raw() || !twice {
			users = append(users, m.User)
		}
	}
	for i := range users {
		users[i].Email = known[users[i].ID].email
		extras[users[i].ID].fill(&users[i])
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
	for len(all) > 0 {
		u, n := all[0].User, 0
		var rest *extra
		for n < len(all) && all[n].ID == u.ID {
			rest = rest.newest(all[n].extra())
			n++
		}
		rest.fill(&u)
		entries := 1
		if per.Raw() {
			entries = n
		}
		for range entries {
			users = append(users, u)
		}
		all = all[n:]
	}
	return users
}
