package presence

import (
	"slices"
	"time"
)

// User is the user that a connection is logged in as.
type User struct {
	ID    string
	Email string // the latest that a connection of the host had for this ID, "" if none had one
}

// user is someone with at least one connection on the host, or with a channel whose watchers were
// not told yet that the last one is gone, or see the user on another pod. So who reconnects
// meanwhile is the same member again.
type user struct {
	User          // with the e-mail address that was learned on this pod
	seen    int64 // see Member
	pos     int   // in Host.online
	conns   int
	first   *Conn            // of its connections, which are a list
	members swapList[member] // one for each channel that knows the user; member.userPos is the place
}

// acquire counts one more connection of the user and takes over the e-mail, the latest seen.
func (h *Host) acquire(u User) *user {
	known := h.users[u.ID]
	if known == nil {
		known = &user{User: u}
		h.users[u.ID] = known
	}
	known.conns++
	h.loggedIn++
	first := known.conns == 1
	if first {
		known.pos = len(h.online)
		h.online = append(h.online, known)
		h.touchOnline(known.pos)
	}
	if u.Email != "" || first {
		h.learn(known, u.Email)
	}
	return known
}

// learn takes over an e-mail address, "" for none, as of now.
func (h *Host) learn(u *user, email string) {
	same := email == u.Email
	switch now := time.Now().UnixMilli(); {
	case email == "":
		u.seen = 0
	case same:
		u.seen = max(u.seen, now)
	default:
		u.seen = max(u.seen+1, now)
	}
	u.Email = email
	if !same {
		h.touchUser(u)
	}
	for _, m := range u.members {
		if m.refs > 0 {
			h.note(m, false) // also the same one: it can be later than what another pod has
		}
		switch {
		case m.trace != nil:
			m.readdress()
		case !same:
			m.updated = true
			m.channel.markDirty(m)
		}
		if m.dirty {
			h.changed(m.channel)
		}
	}
}

func (h *Host) release(u *user) {
	u.conns--
	h.loggedIn--
	if u.conns == 0 {
		h.touchOnline(u.pos)
		h.touchOnline(len(h.online) - 1) // who takes the place
		h.online.remove(u.pos, func(u *user) *int { return &u.pos })
		h.discard(u)
	}
}

// discard drops a user that nothing refers to.
func (h *Host) discard(u *user) {
	if u.conns == 0 && len(u.members) == 0 {
		delete(h.users, u.ID)
	}
}

// become makes c one of the user's connections, which acquire has counted.
func (c *Conn) become(u *user) {
	c.user, c.next = u, u.first
	if u.first != nil {
		u.first.prev = c
	}
	u.first = c
}

// unbecome is the opposite of become. The caller releases the user.
func (c *Conn) unbecome() {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.user.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

func (c *Conn) belongs(user string) bool { return c.user != nil && c.user.ID == user }

// UserConns returns the connections of a user, in no particular order.
func (h *Host) UserConns(user string) []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.users[user]
	if u == nil {
		return nil
	}
	conns := make([]*Conn, 0, u.conns)
	for c := u.first; c != nil; c = c.next {
		conns = append(conns, c)
	}
	return conns
}

// LoggedInConns returns the connections that have a user.
func (h *Host) LoggedInConns() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*Conn, 0, h.loggedIn)
	for _, c := range h.conns {
		if c.user != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// ConnInfo describes one connection of a user.
type ConnInfo struct {
	ID       ID
	User     User
	Channels []string // channels that it listens to, sorted, without its private one
	Out      Outbox
}

// DescribeUser describes the connections of a user. They are in order of arrival, except that the
// last connection of the host fills the place of one that is closed.
func (h *Host) DescribeUser(userID string) []ConnInfo {
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
