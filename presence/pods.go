package presence

// Pods is the side of a [Registry] that the other pods of a deployment use, see [Registry.Pods]. A program that is one
// pod needs none of it. It is safe for concurrent use.
type Pods struct{ r *Registry }

// Pods returns the methods that exchange presence with other pods. They act on r.
func (r *Registry) Pods() Pods { return Pods{r} }

// Members returns what [Host.Users] returns for the named host, with the times of the e-mail addresses. It returns
// nothing if the host has no connection.
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

// Listings lists the active channels of the named host, to be merged with those of other pods by [MergeListings]. Unlike
// [Host.Channels], it includes the users of channels that are only counted, and the times of e-mail addresses.
func (p Pods) Listings(host HostName, per Per) []Listing {
	h := p.r.Host(host)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listings(per, (*channel).mergeable, (*Conn).mergeable)
}

// Listing lists one channel like Listings. It returns false when the channel is not active or hidden.
func (p Pods) Listing(host HostName, name string, per Per) (Listing, bool) {
	h := p.r.Host(host)
	if h == nil {
		return Listing{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listing(name, per, (*channel).mergeable, (*Conn).mergeable)
}

// mergeable returns the listing of a channel with everything that merging needs.
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
		l.Users = append(l.Users, u.User)
		l.Seen = append(l.Seen, u.seen)
	}
	if per == PerConnection {
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

func (c *Conn) mergeable() Listing {
	l := c.listing()
	if c.user != nil {
		l.Seen = []int64{c.user.seen}
	}
	return l
}
