package presence

import "time"

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
	index   int   // in Host.online
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
		known.index = len(h.online)
		h.online = append(h.online, known)
		h.invalidateOnline(known.index)
	}
	if u.Email != "" || first {
		h.setEmail(known, u.Email)
	}
	return known
}

// learn takes over an e-mail address, "" for none, as of now.
func (h *Host) setEmail(u *user, email string) {
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
		h.invalidateUser(u)
	}
	for _, m := range u.members {
		if m.conns > 0 {
			h.recordMember(m, false) // also the same one: it can be later than what another pod has
		}
		switch {
		case m.overlay != nil:
			m.updateEmail()
		case !same:
			m.updated = true
			m.channel.markDirty(m)
		}
		if m.dirty {
			h.scheduleFlush(m.channel)
		}
	}
}

func (h *Host) release(u *user) {
	u.conns--
	h.loggedIn--
	if u.conns == 0 {
		h.invalidateOnline(u.index)
		h.invalidateOnline(len(h.online) - 1) // who takes the place
		h.online.remove(u.index, func(u *user) *int { return &u.index })
		h.discardUser(u)
	}
}

// discard drops a user that nothing refers to.
func (h *Host) discardUser(u *user) {
	if u.conns == 0 && len(u.members) == 0 {
		delete(h.users, u.ID)
	}
}

// member is one user in one channel.
type member struct {
	user      *user
	channel   *channel
	index     int            // in channel.members
	userIndex int            // in user.members
	overlay   *memberOverlay // nil while this pod's connections are all there is
	conns     int32          // connections of the user that listen on this pod
	shown     bool           // by name
	counted   bool           // was there when watchers were told last; one who no longer is gets forgotten when they are told
	updated   bool           // the e-mail is not the one that was shown
	dirty     bool
}

// member returns the user's place in an authenticated channel, a new one if need be.
func (ch *channel) member(u *user) *member {
	m := ch.byUser[u]
	if m == nil {
		m = &member{user: u, channel: ch, index: len(ch.members), userIndex: len(u.members)}
		ch.byUser[u] = m
		ch.members = append(ch.members, m)
		u.members = append(u.members, m)
	}
	return m
}

// arrive counts one more connection of the user in the channel.
func (h *Host) addConn(ch *channel, u *user) {
	if ch.class.Kind != Authenticated {
		return
	}
	m := ch.member(u)
	was := m.visible()
	m.conns++
	if m.conns == 1 {
		ch.users++
		ch.chunks.invalidate(m.index)
		h.recordMember(m, false)
		h.updateMember(m, was, false)
	}
}

// depart counts one connection of the user less in the channel, as lost or for good.
func (h *Host) removeConn(ch *channel, u *user, lost bool) {
	if ch.class.Kind != Authenticated {
		return
	}
	m := ch.byUser[u]
	m.conns--
	if m.conns == 0 {
		ch.users--
		ch.chunks.invalidate(m.index)
		h.recordMember(m, lost)
		h.updateMember(m, true, lost)
	}
}

// forget removes a member for good.
func (h *Host) removeMember(m *member) {
	ch := m.channel
	ch.chunks.invalidate(m.index)
	ch.chunks.invalidate(len(ch.members) - 1) // who takes the place
	ch.members.remove(m.index, func(m *member) *int { return &m.index })
	delete(ch.byUser, m.user)

	u := m.user
	u.members.remove(m.userIndex, func(m *member) *int { return &m.userIndex })
	h.discardUser(u)
}

func (ch *channel) markDirty(m *member) {
	if !m.dirty {
		m.dirty = true
		ch.dirty = append(ch.dirty, m)
	}
}

// here reports whether the member has a connection, on this pod or another.
func (m *member) connected() bool { return m.conns > 0 || (m.overlay != nil && m.overlay.pods > 0) }

// absent reports whether the member was lost, and may be back soon.
func (m *member) inGrace() bool { return m.overlay != nil && m.overlay.graceIndex >= 0 }

// there reports whether watchers are to see the member.
func (m *member) visible() bool { return m.connected() || m.inGrace() }

// shownUser is the member as watchers see it.
func (m *member) shownUser() User {
	u := m.user.User
	if m.overlay != nil {
		u.Email = m.overlay.email
	}
	return u
}
