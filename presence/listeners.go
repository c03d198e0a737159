package presence

import "slices"

// Listeners selects connections of a host for [Host.Listeners], by the users of the connections.
type Listeners struct {
	Channel string // listeners of this channel; "": all connections
	After   string // users whose IDs follow this one; "": from the first on
	Limit   int    // maximum number of users; 0: no limit
}

// OneMore returns l with one user more than its limit, who shows whether there is another page.
func (l Listeners) OneMore() Listeners {
	if l.Limit > 0 {
		l.Limit++
	}
	return l
}

// Listeners lists the connections that have a user, sorted by the ID of the user. Of n users whose
// IDs follow l.After, the connections of the first l.Limit are listed, so that lists of several
// pods can be merged. A ConnInfo has the user as listings show it, and no Channels.
//
// of is the channel without users. Its Count is that of [Host.Channel], also if the channel lists
// users. Without l.Channel, it is empty. Listeners returns false if the channel is hidden or not
// active. Connections of a channel that shows no users are not listed.
func (h *Host) Listeners(l Listeners) (of Listing, list []ConnInfo, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.Channel == "" {
		return of, h.userListeners(l), true
	}
	ch := h.channels[l.Channel]
	if ch == nil || ch.class.Hidden {
		return of, nil, false
	}
	of = Listing{Channel: ch.name, Kind: ch.class.Kind, CountOnly: ch.countOnly()}
	if !ch.named() {
		of.Count = ch.listing(PerUser).Count
		return of, nil, true
	}
	of.Count = int(ch.users)
	return of, ch.userListeners(l), true
}

// userListeners lists connections of the host.
func (h *Host) userListeners(l Listeners) (list []ConnInfo) {
	s := selection{after: l.After, limit: l.Limit}
	for _, u := range h.online {
		if s.wants(u.ID) {
			s.add(u.ID)
		}
	}
	for _, id := range s.finish() {
		for c := h.users[id].first; c != nil; c = c.next {
			list = append(list, ConnInfo{ID: c.id, User: c.user.listed(PerUser, c.user.learned()), Out: c.out})
		}
	}
	return list
}

// userListeners lists connections of the channel, which has members.
func (ch *channel) userListeners(l Listeners) []ConnInfo {
	s := selection{after: l.After, limit: l.Limit}
	for _, m := range ch.members {
		if id := m.user.ID; m.conns > 0 && s.wants(id) {
			s.add(id)
		}
	}
	wanted := s.finish()
	conns := make([][]ConnInfo, len(wanted))
	for _, m := range ch.listeners {
		u, at := ch.listed(m)
		if u == nil {
			continue
		}
		if i, found := slices.BinarySearch(wanted, u.ID); found {
			conns[i] = append(conns[i], ConnInfo{ID: m.conn.id, User: u.listed(PerUser, at), Out: m.conn.out})
		}
	}
	return slices.Concat(conns...)
}
