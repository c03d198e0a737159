package presence

// Conn returns the connection with the ID, or nil.
func (h *Host) Conn(id ID) *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byID[id]
}

// IsShown reports whether a channel is active on this pod and not hidden.
func (h *Host) IsShown(channel string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.channels[channel]
	return ch != nil && !ch.class.Hidden
}

// ChannelConns returns the connections that listen to a channel, private ones too, in no particular
// order.
func (h *Host) ChannelConns(name string) []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.privateConn(name); c != nil {
		return []*Conn{c}
	}
	ch := h.channels[name]
	if ch == nil {
		return nil
	}
	conns := make([]*Conn, len(ch.listeners))
	for i, m := range ch.listeners {
		conns[i] = m.conn
	}
	return conns
}

// Online returns the given users of the named host, one entry for each connection, for
// [MergeMembers]. A user that is given twice counts once.
func (p Pods) Online(host HostName, users []string) []Member {
	h := p.r.Host(host)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var members []Member
	done := make(map[*user]bool, len(users))
	for _, id := range users {
		u := h.users[id]
		if u == nil || done[u] {
			continue
		}
		done[u] = true
		for range u.conns {
			members = append(members, u.listedMember(PerUser))
		}
	}
	return members
}
