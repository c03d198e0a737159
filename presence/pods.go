package presence

// Pods is the part of a [Registry] that package cluster uses: it exchanges presence with other
// pods. It has the registry's state and none of its own. Its methods are safe for concurrent use.
//
// Each pod owns its part of a channel. A [Relay] learns that the part has changed, takes the change
// with [Pods.Changes] as a [Delta], and sends it to the pods that watch the channel, which call
// [Pods.MergeDelta]. Watchers see the union of all parts.
type Pods struct{ r *Registry }

// Pods returns the methods that exchange presence with other pods.
func (r *Registry) Pods() Pods { return Pods{r} }

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
